"""Small event sets on disk in the layouts that the papers use."""

from pathlib import Path

import numpy as np
from PIL import Image

from spikedriven.data.events.cifar10_dvs import CLASSES
from tests.data.events.written import write_aedat2, write_aedat31

GESTURE_US = 100_000


def scattered(
    count: int, draws: np.random.Generator, start: int = 0
) -> list[tuple[int, int, int, int]]:
    """(t, x, y, bit) at random, in the order of time."""
    times = np.sort(draws.integers(start, start + GESTURE_US, count)).tolist()
    places = draws.integers(0, 128, (count, 2)).tolist()
    bits = draws.integers(0, 2, count).tolist()
    return [(t, x, y, bit) for t, (x, y), bit in zip(times, places, bits, strict=True)]


def write_cifar10_dvs(root: Path, per_class: int = 10, events: int = 200) -> Path:
    """cifar10-dvs/CLASS/cifar10_CLASS_N.aedat; the folder of the classes."""
    draws = np.random.default_rng(0)
    for name in CLASSES:
        for number in range(per_class):
            path = root / "cifar10-dvs" / name / f"cifar10_{name}_{number}.aedat"
            write_aedat2(path, scattered(events, draws))
    return root / "cifar10-dvs"


def write_gesture(root: Path, users: tuple[int, int] = (2, 1), events: int = 200) -> Path:
    """DvsGesture/ with so many recordings of eleven gestures in the train and the test list;
    the folder.
    """
    folder, draws = root / "DvsGesture", np.random.default_rng(1)
    for split, count in zip(("train", "test"), users, strict=True):
        names = [f"user{user:02d}_{split}.aedat" for user in range(count)]
        for name in names:
            parts = [scattered(events, draws, label * GESTURE_US) for label in range(11)]
            write_aedat31(folder / name, [event for part in parts for event in part], per_packet=64)
            lines = [
                f"{label + 1},{label * GESTURE_US},{(label + 1) * GESTURE_US}"
                for label in range(11)
            ]
            table = "class,startTime_usec,endTime_usec\n" + "\n".join(lines) + "\n"
            (folder / name.replace(".aedat", "_labels.csv")).write_text(table)
        (folder / f"trials_to_{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def write_har(
    root: Path, clips: tuple[int, int] = (6, 2), frames: int = 5, classes: int = 2
) -> Path:
    """HARDVS/rawframes/ACTION/CLIP/N.png with lists; the folder. Frame n of a clip has n + 1
    black rows.
    """
    folder, draws = root / "HARDVS", np.random.default_rng(2)
    for split, count in zip(("train", "test"), clips, strict=True):
        for label in range(classes):
            for clip in range(count):
                place = folder / "rawframes" / f"{split}_{label:03d}" / f"clip_{clip}"
                place.mkdir(parents=True)
                for number in range(frames):
                    grey = draws.choice(
                        np.array([255, 100, 0], np.uint8), (26, 34), p=[0.8, 0.1, 0.1]
                    )
                    grey[: number + 1] = 0
                    Image.fromarray(grey).save(place / f"{number}.png")
        lines = [f"{split}_{label:03d} {frames} {label}" for label in range(classes)]
        (folder / f"{split}_label.txt").write_text("\n".join(lines) + "\n")
    return folder
