"""Our event sets: what each is, where it is looked for, and how it is opened."""

from spikedriven.data import fashion
from spikedriven.data.contract import DataSet, Facts
from spikedriven.data.events import (
    cifar10_dvs,
    cifar10_dvs_tet,
    dvs128_gesture,
    fashion_events,
    har_dvs,
)
from spikedriven.data.events.config import EventDataConfig

EVENT_SETS = (
    DataSet(
        name="fashion-events",
        config=fashion_events.FashionEventsConfig,
        facts=Facts(
            num_classes=10,
            train_images=10_000,
            test_images=2_000,
            size="34x34 simulated events",
            licence="MIT",
            embedded=True,
        ),
        open=fashion_events.open_set,
        locate=lambda folder: fashion.EMBEDDED_FILE,
    ),
    DataSet(
        name="cifar10-dvs",
        config=cifar10_dvs.Cifar10DvsConfig,
        facts=Facts(
            num_classes=len(cifar10_dvs.CLASSES),
            train_images=9_000,
            test_images=1_000,
            size="128x128 events",
            licence="CC BY 4.0",
        ),
        open=cifar10_dvs.open_set,
        locate=cifar10_dvs.locate,
    ),
    DataSet(
        name="cifar10-dvs-tet",
        config=EventDataConfig,
        facts=Facts(
            num_classes=len(cifar10_dvs.CLASSES),
            train_images=9_000,
            test_images=1_000,
            size="128x128 event frames",
            licence="see the authors",
        ),
        open=cifar10_dvs_tet.open_set,
        locate=cifar10_dvs_tet.locate,
    ),
    DataSet(
        name="dvs128-gesture",
        config=dvs128_gesture.GestureConfig,
        facts=Facts(
            num_classes=len(dvs128_gesture.CLASSES),
            train_images=1_176,
            test_images=288,
            size="128x128 events",
            licence="CC BY 4.0",
        ),
        open=dvs128_gesture.open_set,
        locate=dvs128_gesture.locate,
    ),
    DataSet(
        name="har-dvs",
        config=har_dvs.HarDvsConfig,
        facts=Facts(
            num_classes=har_dvs.NUM_CLASSES,
            train_images=64_526,
            test_images=32_386,
            size="346x260 event frames",
            licence="see the authors",
        ),
        open=har_dvs.open_set,
        locate=har_dvs.locate,
    ),
)
