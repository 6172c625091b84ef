"""DVS128 Gesture: eleven hand gestures of 29 people under three lights (Amir et al., CVPR 2017).

Folder (DvsGesture/ of the archive): trials_to_train.txt and trials_to_test.txt list the .aedat
files (AEDAT 3.1) of each split; beside userNN_LIGHT.aedat lies userNN_LIGHT_labels.csv with a line
"class,start,end" (1 to 11, microseconds) for each gesture. A gesture is the events with start <= t
< end. Or the folder events_np/ that SpikingJelly makes of these, in which each gesture is
{train,test}/K/*.npz with K from 0 to 10.

Outputs are in the order of the numbers, or (`class_order: as_text`) in that of SpikingJelly, whose
DatasetFolder sorts the names of the folders K as text: 0, 1, 10, 2, ... The releases of SDT and
Spikingformer load the set through it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.recordings import RecordedEvents, Recording, find_folder, read_lines
from spikedriven.data.lookup import below
from spikedriven.errors import DataError

NAMES = (
    "dvs128-gesture",
    "DvsGesture",
    "DVS128Gesture",
    "dvs128_gesture",
    "dvs_gesture",
    "DVSGesturedataset",
)
CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
#: Output k means gesture ORDERS[...][k], counted from 0.
ORDERS: dict[str, tuple[int, ...]] = {
    "by_number": tuple(range(len(CLASSES))),
    "as_text": tuple(sorted(range(len(CLASSES)), key=str)),
}
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
CUT = "events_np"
#: class,startTime_usec,endTime_usec: words, none of them a number.
_TITLE = re.compile(r"\s*[A-Za-z][^,]*(,\s*[A-Za-z][^,]*)*")


@dataclass(frozen=True, kw_only=True)
class GestureConfig(FramedEventConfig):
    """The data section of DVS128 Gesture."""

    asked: ClassVar[Mapping[str, str]] = {
        "class_order": "is used with two orders of its classes, and with the wrong one right "
        "answers "
        "count as wrong. Give --class-order as_text (files of the releases: 0, 1, 10, 2, ...) or "
        "--class-order by_number (trained here)",
    }

    class_order: Literal["by_number", "as_text"] = "by_number"
    """Which output is which gesture. by_number: gestures 1 to 11, as the set numbers them. as_text:
    0, 1, 10, 2, ..., as SpikingJelly sorts its folders, and as every file of the releases has its
    outputs."""

    def told(self) -> tuple[str, ...]:
        """The order of the classes."""
        return (f"classes {self.class_order}",)


def locate(data_folder: Path) -> Path | None:
    """The folder that holds the lists and recordings, or the cut gestures of SpikingJelly, if there
    is one."""
    listed, cut = (
        find_folder(data_folder, NAMES, sign) for sign in (LISTS["train"], f"{CUT}/train/0")
    )
    return listed or (cut / CUT if cut else None)


def open_set(cfg: GestureConfig, data_folder: Path, split: str) -> RecordedEvents:
    """The gestures of the official "train" or "test" list. DataError names what is missing or
    wrong.
    """
    folder = locate(data_folder)
    if folder is None:
        raise DataError(
            f"dvs128-gesture was not found: expected {data_folder / NAMES[0]}/{LISTS['train']} "
            "with the .aedat and "
            "_labels.csv files beside it (the folder DvsGesture of DvsGesture.tar.gz), or "
            "SpikingJelly's "
            "events_np/train/0/*.npz; give the folder with root or the variable SPIKEDRIVEN_DATA"
        )
    listed = (folder / LISTS["train"]).is_file()
    samples, gestures = _trials(folder, split) if listed else _cut_gestures(folder, split)
    order = ORDERS[cfg.class_order]
    targets = np.array([order.index(gesture) for gesture in gestures], dtype=np.int64)
    return RecordedEvents(
        cfg, data_folder, samples, targets, [CLASSES[gesture] for gesture in order]
    )


def _trials(folder: Path, split: str) -> tuple[list[Recording], list[int]]:
    """The samples of the official list, and the gesture of each, from 0."""
    samples: list[Recording] = []
    gestures: list[int] = []
    for origin, name in read_lines(folder / LISTS[split]):
        file = below(folder, name, origin)
        if not file.is_file():
            raise DataError(f"{origin}: {file} is missing; unpack the archive again")
        for number, start, stop in _gestures(file.with_name(f"{file.stem}_labels.csv")):
            samples.append(Recording(file, start, stop))
            gestures.append(number - 1)
    if not samples:
        raise DataError(
            f"{folder / LISTS[split]}: expected the names of .aedat files, found no gesture in them"
        )
    return samples, gestures


def _cut_gestures(folder: Path, split: str) -> tuple[list[Recording], list[int]]:
    """The same of SpikingJelly's folders, in the order of gestures and names."""
    samples: list[Recording] = []
    gestures: list[int] = []
    for gesture in range(len(CLASSES)):
        files = sorted((folder / split / str(gesture)).glob("*.npz"), key=lambda path: path.name)
        if not files:
            raise DataError(
                f"{folder / split / str(gesture)}: expected the .npz files of a gesture, found none"
            )
        samples += [Recording(file) for file in files]
        gestures += [gesture] * len(files)
    return samples, gestures


def _gestures(path: Path) -> list[tuple[int, int, int]]:
    """(class 1 to 11, start, stop) of each line but the title, which need not be there."""
    lines = read_lines(path)
    titled = bool(lines) and _TITLE.fullmatch(lines[0][1]) is not None
    return [_gesture(origin, text) for origin, text in lines[titled:]]


def _gesture(origin: str, text: str) -> tuple[int, int, int]:
    try:
        label, start, stop = (int(value) for value in text.split(","))
    except ValueError:
        raise DataError(
            f"{origin}: expected three whole numbers class,start,end, found {text!r}"
        ) from None
    if not 1 <= label <= len(CLASSES) or not 0 <= start < stop:
        raise DataError(
            f"{origin}: expected a class from 1 to {len(CLASSES)} and 0 <= start < end, found "
            f"{text!r}"
        )
    return label, start, stop
