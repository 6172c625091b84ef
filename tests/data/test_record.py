"""What tells two sets of samples apart: files and labels, not the folder that they lie in."""

from pathlib import Path

import numpy as np
import pytest

from spikedriven.data import DetectionDataConfig, config_for, create_dataset
from spikedriven.data.record import check_classes, fingerprint, record_of
from spikedriven.errors import InputError
from tests.data.own.folders import class_folders


def print_of(root: Path, split: str = "train", **fields) -> str:
    return fingerprint(create_dataset(config_for("folder", root=root, **fields), split))


def test_a_fingerprint_follows_files_and_labels_not_the_folder(tmp_path: Path):
    root = class_folders(tmp_path / "a")
    before = print_of(root)
    assert print_of(root.rename(tmp_path / "b")) == before
    root = tmp_path / "b"
    assert print_of(root, val_fraction=0.25) != before != print_of(root, "test")
    (root / "cat" / "0.png").rename(root / "cat" / "9.png")
    renamed = print_of(root)
    (root / "cat" / "9.png").rename(root / "dog" / "9.png")
    assert len({before, renamed, print_of(root)}) == 3


def test_a_record_of_every_kind(tmp_path: Path):
    cfg = config_for("fashion-mini")
    record = record_of(cfg, create_dataset(cfg, "train"))
    assert (record.samples, record.classes[0], record.several_labels) == (
        10_000,
        "T-shirt/top",
        False,
    )
    assert record.fingerprint != fingerprint(create_dataset(cfg, "test"))
    whole = create_dataset(cfg, "train")
    assert fingerprint(whole.subset(np.arange(9))) != fingerprint(whole.subset(np.arange(1, 10)))
    scenes = [DetectionDataConfig(dataset="fashion-scenes", scene_seed=seed) for seed in (0, 0, 1)]
    prints = [fingerprint(create_dataset(cfg, "train")) for cfg in scenes]
    assert prints[0] == prints[1] != prints[2]


def test_other_classes_are_named():
    check_classes(("a", "b"), ("a", "b"), "data")
    check_classes((), ("a", "b"), "data")
    with pytest.raises(InputError, match=r"output 1 is 'b' there and 'c' here \(2 and 2 classes\)"):
        check_classes(("a", "b"), ("a", "c"), "data")
    with pytest.raises(
        InputError, match=r"output 2 is none there and 'c' here \(2 and 3 classes\)"
    ):
        check_classes(("a", "b"), ("a", "b", "c"), "data")
