"""The same bytes as SpikingJelly's loaders read them, which the releases use: a record of
0.0.0.0.14.

`tools/record_spikingjelly.py` makes it.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spikedriven.data import EventDataConfig, config_for, create_dataset
from spikedriven.data.events import read_events
from tests.data.events.sets import write_cifar10_dvs

RECORD = Path(__file__).parents[2] / "golden" / "spikingjelly_events.npz"


@pytest.fixture(scope="module")
def record() -> dict[str, np.ndarray]:
    with np.load(RECORD) as found:
        return dict(found)


def config(dataset: str, root: Path, **changes) -> EventDataConfig:
    own = {"split": "authors"} if dataset == "cifar10-dvs" else {}
    return config_for(dataset, root=root, **{"cache": False, **own, **changes})


@pytest.mark.parametrize("name", ["aedat2", "aedat31", "overflow"])
def test_recordings(tmp_path: Path, record: dict[str, np.ndarray], name: str):
    path = tmp_path / "a.aedat"
    path.write_bytes(record[f"{name}.file"].tobytes())
    events = read_events(path)
    assert len(events) == len(record[f"{name}.t"]) > 0
    for field in "txyp":
        assert np.array_equal(
            getattr(events, field).astype(np.int64), record[f"{name}.{field}"].astype(np.int64)
        )


def test_the_authors_split(tmp_path: Path, record: dict[str, np.ndarray]):
    root = write_cifar10_dvs(tmp_path, per_class=11, events=2)
    for part in ("train", "test"):
        ours = create_dataset(config("cifar10-dvs", tmp_path), part)
        names = [str(Path(ours.where(i)).relative_to(root)) for i in range(len(ours))]
        assert names == record[f"split.{part}"].tolist()


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_frames(tmp_path: Path, record: dict[str, np.ndarray], split_by: str, steps: int):
    root = write_cifar10_dvs(tmp_path, per_class=11, events=2)
    for index in (0, 7):
        (root / record["split.train"][index]).write_bytes(record[f"cifar.{index}.file"].tobytes())
    ours = create_dataset(
        config("cifar10-dvs", tmp_path, split_by=split_by, time_steps=steps), "train"
    )
    for index in (0, 7):
        assert np.array_equal(ours[index][0].numpy(), record[f"cifar.{index}.{split_by}.{steps}"])


def test_gestures_cut_by_their_table(tmp_path: Path, record: dict[str, np.ndarray]):
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    (folder / "user00_train.aedat").write_bytes(record["gesture.file"].tobytes())
    (folder / "user00_train_labels.csv").write_bytes(record["gesture.table"].tobytes())
    for part in ("train", "test"):
        (folder / f"trials_to_{part}.txt").write_text("user00_train.aedat\n")
    ours = create_dataset(config("dvs128-gesture", tmp_path, time_steps=3), "train")
    assert ours.targets.tolist() == list(range(11))
    frames = [ours[label][0] for label in range(11)]
    for label in range(11):
        assert np.array_equal(frames[label].numpy(), record[f"gesture.{label}"])
    shutil.rmtree(folder)
    for part in ("train", "test"):
        for label in range(11):
            place = tmp_path / "DVSGesturedataset" / "events_np" / part / str(label)
            place.mkdir(parents=True)
            (place / "user00_train_0.npz").write_bytes(record[f"gesture.{label}.file"].tobytes())
    cut = create_dataset(config("dvs128-gesture", tmp_path, time_steps=3), "train")
    assert cut.targets.tolist() == list(range(11)) and cut.where(0).endswith(
        "train/0/user00_train_0.npz"
    )
    for label in range(11):
        assert torch.equal(cut[label][0], frames[label]), "their files, read by us"
