"""The event sets by name: what each is, where it is looked for, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spikedriven.data import fashion
from spikedriven.data.events import cifar10_dvs, cifar10_dvs_tet, dvs128_gesture, har_dvs
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.fashion_events import open_set as open_fashion_events
from spikedriven.data.lookup import find_entry


@dataclass(frozen=True, kw_only=True)
class EventSet:
    """One entry of the registry. Counts of recordings are the published ones."""

    name: str
    num_classes: int
    train_images: int
    test_images: int
    size: str
    licence: str
    open: Callable[
        [EventDataConfig, Path, str], EventDataset
    ]  # (configuration, data folder, "train" or "test")
    locate: Callable[[Path], Path | None]
    simulated: bool = False
    """Made by a program, not recorded by a camera: every figure over it says so."""
    pictures: bool = False
    """Distributed as pictures of events: nothing is framed or cached, and no stream of events gives such pictures."""
    splits: tuple[str, ...] = ()
    """Values of `data.split` (beside a file of names), where nobody has said which recordings are
    for testing."""
    class_orders: tuple[str, ...] = ()
    """Values of `data.class_order`, where networks are around whose outputs are in another
    order."""


_FASHION_EVENTS = EventSet(
    name="fashion-events",
    num_classes=10,
    train_images=10_000,
    test_images=2_000,
    size="34x34 simulated events",
    licence="MIT",
    open=open_fashion_events,
    locate=lambda folder: fashion.EMBEDDED_FILE,
    simulated=True,
)
_CIFAR10_DVS = EventSet(
    name="cifar10-dvs",
    num_classes=len(cifar10_dvs.CLASSES),
    train_images=9_000,
    test_images=1_000,
    size="128x128 events",
    licence="CC BY 4.0",
    open=cifar10_dvs.open_set,
    locate=cifar10_dvs.locate,
    splits=cifar10_dvs.SPLITS,
)
_CIFAR10_DVS_TET = EventSet(
    name="cifar10-dvs-tet",
    num_classes=len(cifar10_dvs.CLASSES),
    train_images=9_000,
    test_images=1_000,
    size="128x128 event frames",
    licence="see the authors",
    open=cifar10_dvs_tet.open_set,
    locate=cifar10_dvs_tet.locate,
    pictures=True,
)
_DVS128_GESTURE = EventSet(
    name="dvs128-gesture",
    num_classes=len(dvs128_gesture.CLASSES),
    train_images=1_176,
    test_images=288,
    size="128x128 events",
    licence="CC BY 4.0",
    open=dvs128_gesture.open_set,
    locate=dvs128_gesture.locate,
    class_orders=tuple(dvs128_gesture.ORDERS),
)
_HAR_DVS = EventSet(
    name="har-dvs",
    num_classes=har_dvs.NUM_CLASSES,
    train_images=64_526,
    test_images=32_386,
    size="346x260 event frames",
    licence="see the authors",
    open=har_dvs.open_set,
    locate=har_dvs.locate,
    pictures=True,
)
EVENT_SETS: dict[str, EventSet] = {
    entry.name: entry
    for entry in (_FASHION_EVENTS, _CIFAR10_DVS, _CIFAR10_DVS_TET, _DVS128_GESTURE, _HAR_DVS)
}


def find_event_set(name: str) -> EventSet:
    """The registry entry; InputError with the closest names when there is none."""
    return find_entry(EVENT_SETS, name, "event")
