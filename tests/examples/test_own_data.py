"""The example that writes sets of one's own, on wheels that the tests write: each is read back."""

import gzip
import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from spikedriven.data import config_for, create_dataset
from tests.examples.test_natural_images import TILES, write_nuclei, write_trees

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with small tiles and few clips."""
    spec = importlib.util.spec_from_file_location("own_data_example", EXAMPLES / "own_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.natural_images, "TILES", TILES)
    monkeypatch.setattr(module, "CLIPS", 2)
    return module


def written(example: ModuleType, kind: str, tmp_path: Path) -> Path:
    """The folder of a set."""
    example.KINDS[kind](tmp_path / kind, tmp_path)
    return tmp_path / kind


def test_digits(example: ModuleType, tmp_path: Path):
    rows = "\n".join(",".join(["16"] * 64 + [str(i % 3)]) for i in range(12))
    name = "scikit_learn-1.8.0-cp311-none-any.whl"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr("sklearn/datasets/data/digits.csv.gz", gzip.compress(rows.encode()))
    root = written(example, "digits", tmp_path)
    train = create_dataset(config_for("folder", root=root), "train")
    assert train.classes == ("one", "two", "zero") and len(train) == 9
    assert train[0][0].size == (32, 32) and train[0][0].getpixel((5, 5)) == 255


def test_trees_and_nuclei(example: ModuleType, tmp_path: Path):
    write_trees(tmp_path)
    write_nuclei(tmp_path)
    boxes = config_for("folder", "detection", root=written(example, "trees", tmp_path))
    train, test = (create_dataset(boxes, split) for split in ("train", "test"))
    assert train.classes == ("tree",) and len(test) == 1
    assert test[0][1]["boxes"].round().tolist() == [[3.0, 5.0, 13.0, 20.0]]
    maps = config_for("folder", "segmentation", root=written(example, "nuclei", tmp_path))
    train = create_dataset(maps, "train")
    assert train.classes == ("background", "nucleus") and int(train[0][1].max()) == 1


def test_clips(example: ModuleType, tmp_path: Path):
    root = written(example, "clips", tmp_path)
    cfg = config_for("event-folder", root=root, time_steps=4, cache=False, test_fraction=0.5)
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert train.num_classes == 4 and (len(train), len(test)) == (4, 4)
    assert train[0][0].shape == (4, 2, 34, 34) and train[0][0].sum() > 100
