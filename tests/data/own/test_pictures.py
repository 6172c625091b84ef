"""Pictures of one's own: class folders with and without parts, and lists of paths and labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from spikedriven.data import build_eval_loader, build_train_loader, config_for, create_dataset
from spikedriven.data.own.pictures import FolderConfig, locate
from spikedriven.errors import DataError, InputError, RecipeError
from tests.data.own.folders import class_folders, picture


def config(root: Path, **fields) -> FolderConfig:
    return config_for("folder", root=root, workers=0, img_size=16, **fields)


def names(cfg: FolderConfig, split: str) -> set[str]:
    found = create_dataset(cfg, split)
    return {found.where(i) for i in range(len(found))}


def test_one_folder_is_split_by_a_seeded_draw(tmp_path: Path):
    class_folders(tmp_path, ("cat", "dog", "emu"), 10)
    cfg = config(tmp_path, test_fraction=0.3)
    train, test = create_dataset(cfg, "train"), create_dataset(cfg, "test")
    assert train.classes == test.classes == ("cat", "dog", "emu")
    assert np.bincount(train.targets).tolist() == [7, 7, 7] and len(test) == 9
    assert not names(cfg, "train") & names(cfg, "test")
    assert names(cfg, "test") == names(config(tmp_path, test_fraction=0.3), "test")
    assert names(cfg, "test") != names(config(tmp_path, test_fraction=0.3, split_seed=1), "test")
    held = config(tmp_path, test_fraction=0.3, val_fraction=0.3)
    assert [len(create_dataset(held, split)) for split in ("train", "val", "test")] == [15, 6, 9]
    assert names(held, "test") == names(cfg, "test")


def test_parts_are_read_as_they_are(tmp_path: Path):
    class_folders(tmp_path / "train", count=4)
    class_folders(tmp_path / "valid", count=2)
    cfg = config(tmp_path)
    assert [len(create_dataset(cfg, split)) for split in ("train", "test")] == [8, 4]
    assert not cfg.has_val_part() and locate(tmp_path) == tmp_path
    class_folders(tmp_path / "test", count=3)
    assert [len(create_dataset(cfg, split)) for split in ("train", "val", "test")] == [8, 4, 6]
    with pytest.raises(DataError, match=r"for validation: leave data.val_fraction out"):
        create_dataset(config(tmp_path, val_fraction=0.5), "train")
    picture(tmp_path / "test" / "emu" / "0.png")
    with pytest.raises(DataError, match=r"train and test must have the same classes.*emu"):
        create_dataset(cfg, "train")


def test_what_cannot_be_meant_is_said(tmp_path: Path):
    with pytest.raises(DataError, match=r"give its folder with data.root \(--data.root DIR\)"):
        create_dataset(config_for("folder"), "train")
    with pytest.raises(DataError, match="nowhere is no folder"):
        create_dataset(config(tmp_path / "nowhere"), "train")
    with pytest.raises(DataError, match="expected class folders"):
        create_dataset(config(tmp_path), "train")
    class_folders(tmp_path / "train")
    with pytest.raises(
        DataError, match=r"has train/, but no val/ or valid/; add it, or give a folder"
    ):
        create_dataset(config(tmp_path), "test")
    class_folders(tmp_path / "val")
    class_folders(tmp_path / "valid")
    with pytest.raises(DataError, match="val/ and valid/ are both for val"):
        create_dataset(config(tmp_path), "train")
    with pytest.raises(InputError, match="give val_fraction > 0"):
        class_folders(tmp_path / "one")
        create_dataset(config(tmp_path / "one"), "val")


def listed(root: Path, several: bool = False, count: int = 12) -> Path:
    """root/labels.csv over root/pictures/N.png."""
    lines = ["path,labels" if several else "path,label"]
    for i in range(count):
        picture(root / "pictures" / f"{i}.png", i, (16, 16))
        label = ["red", "red; round", "", "round"][i % 4] if several else ["red", "blue"][i % 2]
        lines.append(f"pictures/{i}.png,{label}")
    path = root / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_says_paths_and_labels(tmp_path: Path):
    listed(tmp_path)
    cfg = config(tmp_path, test_fraction=0.5)
    train = create_dataset(cfg, "train")
    assert train.classes == ("blue", "red") and np.bincount(train.targets).tolist() == [3, 3]
    rows = [
        {"path": f"pictures/{i}.png", "label": "even" if i % 2 == 0 else 1, "split": split}
        for i, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 4)
    ]
    other = tmp_path / "mine.jsonl"
    other.write_text("\n".join(map(json.dumps, rows)))
    cfg = config(tmp_path, labels_file="mine.jsonl")
    parts = [create_dataset(cfg, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [6, 2, 4] and parts[0].classes == ("1", "even")
    assert parts[1].targets.tolist() == [1, 0] and parts[1].where(0).endswith("pictures/6.png")


def test_several_labels_reach_training_and_evaluation(tmp_path: Path):
    listed(tmp_path, several=True)
    cfg = config(tmp_path, hflip=0.0)
    train = create_dataset(cfg, "train")
    assert train.classes == ("red", "round") and train.several_labels and len(train) == 10
    by_name = {train.where(i)[-6:]: train[i][1].tolist() for i in range(len(train))}
    wanted = {0: [1, 0], 1: [1, 1], 2: [0, 0], 3: [0, 1]}
    assert all(
        labels == wanted[int(name[-5]) % 4] for name, labels in by_name.items() if "/" in name
    )
    images, targets = next(build_train_loader(cfg, batch_size=5, seed=0).epoch(0))
    assert images.shape == (5, 3, 16, 16) and targets.shape == (5, 2)
    loader = build_eval_loader(cfg, batch_size=2)
    assert loader.dataset.several_labels and next(iter(loader))[1].dtype == targets.dtype
    with pytest.raises(
        RecipeError, match="mixup, cutmix and smoothing are for pictures with one label"
    ):
        build_train_loader(config(tmp_path, smoothing=0.1), batch_size=2, seed=0)
    with pytest.raises(RecipeError, match="found 'balanced', but samples have no label each"):
        build_train_loader(config(tmp_path, sampling="balanced"), batch_size=2, seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,cat\n", "line 1: expected a title line with path and label"),
        ("path,label\n", "no picture in it"),
        ("path,label,labels\na.png,x,y\n", "found label and labels"),
        ("path,name\na.png,x\n", "expected label .one. or labels .several., found neither"),
        ("path,label\na.png,x\na.png,y\n", "stands in it twice, with x and y"),
        ("path,label\n../a.png,x\n", "line 2: expected a path below"),
        ("path,label,split\na.png,x,dev\n", "line 2: split must be one of train, training"),
        ("path,label,split\na.png,x,train\nb.png,x,\n", "some have none; give all or none"),
        ("path,label\na.png\n", "line 2: expected 2 values"),
        ("path,label\na.png,\n", "line 2: expected a name, found ''"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path: Path, text: str, message: str):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        create_dataset(config(tmp_path), "train")


def test_two_lists_must_be_chosen_from(tmp_path: Path):
    listed(tmp_path)
    (tmp_path / "labels.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"keep one, or name it with data.labels_file"):
        create_dataset(config(tmp_path), "train")
    assert len(create_dataset(config(tmp_path, labels_file="labels.csv"), "train")) == 10
