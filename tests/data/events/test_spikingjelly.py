"""The same bytes read by SpikingJelly, whose loaders the releases use. Needs `pip install spikingjelly==0.0.0.0.14`."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import DatasetFolder

from spikedriven.data import EventDataConfig, create_event_dataset
from spikedriven.data.events import Events, read_events
from tests.data.events.sets import scattered, write_cifar10_dvs, write_gesture
from tests.data.events.written import (
    AEDAT31_HEADER,
    aedat31_event,
    packet,
    write_aedat2,
    write_aedat31,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # escape sequences in its docstrings
    jelly = pytest.importorskip(
        "spikingjelly.datasets", reason="compares with spikingjelly, which is not installed"
    )
    cifar10_dvs = pytest.importorskip("spikingjelly.datasets.cifar10_dvs")
    gesture = pytest.importorskip("spikingjelly.datasets.dvs128_gesture")


@pytest.fixture(autouse=True)
def newer_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads bytes by a function that numpy 2.3 took away; frombuffer is what replaced it."""
    monkeypatch.setattr(np, "fromstring", np.frombuffer)


def assert_equal(events: Events, theirs: dict[str, np.ndarray]) -> None:
    assert len(events) == len(theirs["t"]) > 0
    for name in "txyp":
        assert np.array_equal(
            getattr(events, name).astype(np.int64), np.asarray(theirs[name], np.int64)
        ), name


def config(dataset: str, root: Path, **changes) -> EventDataConfig:
    return EventDataConfig(
        dataset=dataset, root=root, **{"split": "authors", "cache": False, **changes}
    )


def test_aedat2(tmp_path: Path):
    path = write_aedat2(tmp_path / "a.aedat", scattered(500, np.random.default_rng(0)))
    assert_equal(read_events(path), cifar10_dvs.CIFAR10DVS.load_origin_data(str(path)))


def test_aedat31(tmp_path: Path):
    path = write_aedat31(
        tmp_path / "a.aedat", scattered(500, np.random.default_rng(0)), per_packet=64
    )
    assert_equal(read_events(path), gesture.DVS128Gesture.load_origin_data(str(path)))
    late = packet([aedat31_event(1, 2, 3, 1)], overflow=2)
    path.write_bytes(AEDAT31_HEADER + packet([b"\x00" * 8], kind=0) + late)
    assert_equal(read_events(path), gesture.DVS128Gesture.load_origin_data(str(path)))


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_frames_and_the_authors_split(tmp_path: Path, split_by: str, steps: int):
    write_cifar10_dvs(tmp_path, per_class=11, events=101)
    folder = DatasetFolder(str(tmp_path / "cifar10-dvs"), lambda path: path, (".aedat",))
    labelled = [(path, torch.tensor(label)) for path, label in folder.samples]
    theirs = dict(
        zip(("train", "test"), jelly.split_to_train_test_set(0.9, labelled, 10), strict=True)
    )
    cfg = config("cifar10-dvs", tmp_path, split_by=split_by, time_steps=steps)
    for part, subset in theirs.items():
        ours = create_event_dataset(cfg, part)
        assert [ours.where(i) for i in range(len(ours))] == [
            folder.samples[i][0] for i in subset.indices
        ]
    for index in (0, 7):
        events = cifar10_dvs.CIFAR10DVS.load_origin_data(ours.where(index))
        expected = jelly.integrate_events_by_fixed_frames_number(events, split_by, steps, 128, 128)
        assert np.array_equal(ours[index][0].numpy(), expected)


def test_gestures_cut_by_their_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_gesture(tmp_path, users=(1, 1), events=50)
    for label in range(11):
        (tmp_path / "cut" / str(label)).mkdir(parents=True)
    name = "user00_train"
    gesture.DVS128Gesture.split_aedat_files_to_np(
        name,
        str(folder / f"{name}.aedat"),
        str(folder / f"{name}_labels.csv"),
        str(tmp_path / "cut"),
    )
    capsys.readouterr()  # it prints each file
    ours = create_event_dataset(config("dvs128-gesture", tmp_path, time_steps=3), "train")
    assert ours.targets.tolist() == list(range(11))
    (tmp_path / "DVSGesturedataset" / "events_np").mkdir(parents=True)
    for split in ("train", "test"):
        shutil.copytree(tmp_path / "cut", tmp_path / "DVSGesturedataset" / "events_np" / split)
    folder.rename(tmp_path / "elsewhere")
    cut = create_event_dataset(config("dvs128-gesture", tmp_path, time_steps=3), "train")
    assert cut.targets.tolist() == list(range(11)) and cut.where(0).endswith(
        f"train/0/{name}_0.npz"
    )
    folder = (tmp_path / "elsewhere").rename(folder)
    for index in range(11):
        assert torch.equal(cut[index][0], ours[index][0]), "their files, read by us"
        with np.load(tmp_path / "cut" / str(index) / f"{name}_0.npz") as events:
            expected = jelly.integrate_events_by_fixed_frames_number(
                dict(events), "number", 3, 128, 128
            )
        assert np.array_equal(ours[index][0].numpy(), expected)
