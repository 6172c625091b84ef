"""DVS128 Gesture: eleven hand gestures of 29 people under three lights (Amir et al., CVPR 2017).

Folder (DvsGesture/ of the archive): trials_to_train.txt and trials_to_test.txt list the .aedat files (AEDAT 3.1) of
each split; beside userNN_LIGHT.aedat lies userNN_LIGHT_labels.csv with a line "class,start,end" (1 to 11, microseconds)
for each gesture. A gesture is the events with start <= t < end.
"""

from pathlib import Path

import numpy as np

from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.recordings import RecordedEvents, Recording, find_folder, read_lines
from spikedriven.data.lookup import below
from spikedriven.errors import DataError

NAMES = ("dvs128-gesture", "DvsGesture", "DVS128Gesture", "dvs128_gesture", "dvs_gesture")
CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}


def locate(data_folder: Path) -> Path | None:
    """The folder that holds the lists and recordings, if there is one."""
    return find_folder(data_folder, NAMES, LISTS["train"])


def open_set(cfg: EventDataConfig, data_folder: Path, split: str) -> RecordedEvents:
    """The gestures of the official "train" or "test" list. DataError names what is missing or wrong."""
    folder = locate(data_folder)
    if folder is None:
        raise DataError(
            f"dvs128-gesture was not found: expected {data_folder / NAMES[0]}/{LISTS['train']} with the .aedat and "
            "_labels.csv files beside it (the folder DvsGesture of DvsGesture.tar.gz); give the folder with root or "
            "the variable SPIKEDRIVEN_DATA"
        )
    samples: list[Recording] = []
    targets: list[int] = []
    for origin, name in read_lines(folder / LISTS[split]):
        file = below(folder, name, origin)
        if not file.is_file():
            raise DataError(f"{origin}: {file} is missing; unpack the archive again")
        for label, start, stop in _gestures(file.with_name(f"{file.stem}_labels.csv")):
            samples.append(Recording(file, start, stop))
            targets.append(label - 1)
    if not samples:
        raise DataError(f"{folder / LISTS[split]}: expected the names of .aedat files, found no gesture in them")
    return RecordedEvents(cfg, data_folder, samples, np.array(targets, dtype=np.int64), CLASSES)


def _gestures(path: Path) -> list[tuple[int, int, int]]:
    """(class 1 to 11, start, stop) of each line but the title."""
    return [_gesture(origin, text) for origin, text in read_lines(path)[1:]]


def _gesture(origin: str, text: str) -> tuple[int, int, int]:
    try:
        label, start, stop = (int(value) for value in text.split(","))
    except ValueError:
        raise DataError(f"{origin}: expected three whole numbers class,start,end, found {text!r}") from None
    if not 1 <= label <= len(CLASSES) or not 0 <= start < stop:
        raise DataError(f"{origin}: expected a class from 1 to {len(CLASSES)} and 0 <= start < end, found {text!r}")
    return label, start, stop
