"""Record what SpikingJelly's loaders make of small recordings:
tests/golden/spikingjelly_events.npz.

The releases load event data by SpikingJelly 0.0.0.0.12 or .14. Later versions have other loaders,
so the tests compare with this record. To make it again, in an environment of its own:

    pip install spikingjelly==0.0.0.0.14 && python tools/record_spikingjelly.py
"""

import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikingjelly import datasets as jelly
from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS
from spikingjelly.datasets.dvs128_gesture import DVS128Gesture
from torchvision.datasets import DatasetFolder

from spikedriven.files import write_whole
from tests.data.events.sets import scattered, write_cifar10_dvs, write_gesture
from tests.data.events.written import (
    AEDAT31_HEADER,
    aedat31_event,
    packet,
    write_aedat2,
    write_aedat31,
)

OUT = Path(__file__).parents[1] / "tests" / "golden" / "spikingjelly_events.npz"
FRAMES = [(by, steps) for by in ("number", "time") for steps in (1, 4, 7)]
SAMPLES = (0, 7)


def main() -> None:
    np.fromstring = np.frombuffer  # it reads bytes by a function that NumPy 2.3 took away
    with tempfile.TemporaryDirectory() as folder:
        found = {**recordings(Path(folder)), **cifar(Path(folder)), **gestures(Path(folder))}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found)
    write_whole(OUT, buffer.getvalue())


def recordings(folder: Path) -> dict[str, Any]:
    """Three files, and the events of each."""
    events = scattered(500, np.random.default_rng(0))
    late = packet([aedat31_event(1, 2, 3, 1)], overflow=2)
    files = {
        "aedat2": write_aedat2(folder / "a2.aedat", events),
        "aedat31": write_aedat31(folder / "a31.aedat", events, per_packet=64),
        "overflow": folder / "overflow.aedat",
    }
    files["overflow"].write_bytes(AEDAT31_HEADER + packet([b"\x00" * 8], kind=0) + late)
    readers = {"aedat2": CIFAR10DVS, "aedat31": DVS128Gesture, "overflow": DVS128Gesture}
    found: dict[str, Any] = {}
    for name, path in files.items():
        read = readers[name].load_origin_data(str(path))
        found |= {
            f"{name}.file": bytes_of(path),
            **{f"{name}.{k}": np.asarray(v) for k, v in read.items()},
        }
    return found


def cifar(folder: Path) -> dict[str, Any]:
    """The authors' split of 11 recordings a class, and the frames of two of them."""
    root = write_cifar10_dvs(folder, per_class=11, events=101)
    samples = DatasetFolder(str(root), lambda path: path, (".aedat",)).samples
    labelled = [(path, torch.tensor(label)) for path, label in samples]
    parts = jelly.split_to_train_test_set(0.9, labelled, 10)
    names = [str(Path(path).relative_to(root)) for path, _ in samples]
    found: dict[str, Any] = {
        f"split.{part}": np.array([names[i] for i in subset.indices])
        for part, subset in zip(("train", "test"), parts, strict=True)
    }
    for index in SAMPLES:
        path = root / str(found["split.train"][index])
        found[f"cifar.{index}.file"] = bytes_of(path)
        events = CIFAR10DVS.load_origin_data(str(path))
        for by, steps in FRAMES:
            found[f"cifar.{index}.{by}.{steps}"] = framed(events, by, steps)
    return found


def gestures(folder: Path) -> dict[str, Any]:
    """One recording, cut by its table into eleven gestures, each in three frames."""
    place, cut, name = (
        write_gesture(folder, users=(1, 1), events=50),
        folder / "cut",
        "user00_train",
    )
    for label in range(11):
        (cut / str(label)).mkdir(parents=True)
    files = [place / f"{name}{end}" for end in (".aedat", "_labels.csv")]
    DVS128Gesture.split_aedat_files_to_np(name, *map(str, files), str(cut))
    found: dict[str, Any] = {
        "gesture.file": bytes_of(files[0]),
        "gesture.table": bytes_of(files[1]),
    }
    for label in range(11):
        path = cut / str(label) / f"{name}_0.npz"
        found[f"gesture.{label}.file"] = bytes_of(path)
        with np.load(path) as events:
            found[f"gesture.{label}"] = framed(dict(events), "number", 3)
    shutil.rmtree(cut)
    return found


def framed(events: Mapping[str, np.ndarray], by: str, steps: int) -> np.ndarray:
    return np.asarray(
        jelly.integrate_events_by_fixed_frames_number(events, by, steps, 128, 128), np.uint8
    )


def bytes_of(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), np.uint8)


if __name__ == "__main__":
    main()
