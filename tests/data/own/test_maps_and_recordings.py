"""Label maps and recordings of one's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikedriven.data import build_train_loader, config_for, create_dataset
from spikedriven.data.own.maps import MapFolderConfig
from spikedriven.errors import DataError
from tests.data.own.folders import SIZE, picture, recording


def maps(root: Path, parts: tuple[str, ...] = ("train", "val"), count: int = 4) -> Path:
    """images/PART/N.jpg, masks/PART/N.png and names.txt."""
    for part in parts:
        for i in range(count):
            picture(root / "images" / part / f"{i}.jpg", i)
            labels = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
            labels[10:20, 5:30], labels[0, 0] = 1, 255
            path = root / "masks" / part / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
    (root / "names.txt").write_text("road\ncar\n")
    return root


def of_maps(root: Path, **fields) -> MapFolderConfig:
    return config_for("folder", "segmentation", root=root, workers=0, img_size=32, **fields)


def test_maps_in_parts(tmp_path: Path):
    train = create_dataset(of_maps(maps(tmp_path)), "train")
    assert train.classes == ("road", "car") and len(train) == 4
    labels = train[0][1]
    assert (labels == 1).sum() == 250 and labels[0, 0] == 255
    images, targets = next(build_train_loader(of_maps(tmp_path), batch_size=2, seed=0).epoch(0))
    assert images.shape == (2, 3, 32, 32) and targets.shape == (2, 32, 32)


def test_maps_in_one_folder(tmp_path: Path):
    cfg = of_maps(maps(tmp_path, parts=(".",), count=10))
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    assert not {train.where(i) for i in range(8)} & {test.where(i) for i in range(2)}


def test_maps_that_cannot_be_meant(tmp_path: Path):
    with pytest.raises(DataError, match="no label maps were found; expected images/train"):
        create_dataset(of_maps(tmp_path), "train")
    maps(tmp_path)
    (tmp_path / "names.txt").write_text("road\n")
    with pytest.raises(DataError, match=r"label 1 found, expected 0..0 or 255"):
        _ = create_dataset(of_maps(tmp_path), "train")[0]
    (tmp_path / "names.txt").unlink()
    with pytest.raises(DataError, match=r"nothing names the classes: add names.txt"):
        create_dataset(of_maps(tmp_path), "train")
    (tmp_path / "names.txt").write_text("road\ncar\n")
    (tmp_path / "masks" / "val" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2.jpg: its name is not in both"):
        create_dataset(of_maps(tmp_path), "train")


def test_recordings_in_class_folders(tmp_path: Path):
    for label, name in enumerate(("left", "right")):
        for i in range(5):
            recording(tmp_path / name / f"{i}.npz", 2 * i + label)
    cfg = config_for(
        "event-folder", root=tmp_path, workers=0, time_steps=3, img_size=34, cache=False
    )
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert train.classes == ("left", "right") and (len(train), len(test)) == (8, 2)
    for frames, label in (train[i] for i in range(8)):
        assert frames.shape == (3, 2, 34, 34) and frames.sum() == 300
        assert frames[..., :17].sum() == 300 * (label == 0)
    (tmp_path / "wrong").mkdir()
    with pytest.raises(DataError, match="wrong: no recording in it"):
        create_dataset(cfg, "train")


def test_recordings_in_parts_and_none(tmp_path: Path):
    cfg = config_for("event-folder", root=tmp_path, time_steps=3, cache=False)
    with pytest.raises(DataError, match="no recordings were found; expected class folders"):
        create_dataset(cfg, "train")
    for part, count in (("train", 3), ("val", 2)):
        for i in range(count):
            recording(tmp_path / part / "left" / f"{i}.npz", i)
            recording(tmp_path / part / "right" / f"{i}.npz", i)
    assert [len(create_dataset(cfg, split)) for split in ("train", "test")] == [6, 4]
