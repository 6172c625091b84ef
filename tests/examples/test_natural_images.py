"""The example of natural images, on wheels that the tests write."""

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from spikedriven.data.detection.coco import CocoInstances

EXAMPLE = Path(__file__).parents[2] / "examples" / "natural_images.py"
TILES = {"trees": (32, 16, (64, 96)), "nuclei": (32, 16, (64, 96))}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with small tiles."""
    spec = importlib.util.spec_from_file_location("natural_images", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TILES", TILES)
    return module


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_nuclei(folder: Path, version: str = "0.9.2") -> Path:
    """Two nuclei in the upper three quarters of a picture of 64 x 64, one in the lowest quarter
    of twice its height.
    """
    grey = np.random.default_rng(0).integers(100, 200, (128, 64)).astype(np.uint16)
    numbers = np.zeros((128, 64), np.uint16)
    for number, (top, left) in enumerate([(4, 6), (40, 30), (104, 8)], start=1):
        numbers[top : top + 10, left : left + 12] = number
        grey[top : top + 10, left : left + 12] = 1000
    path = folder / f"stardist-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("stardist/data/images/img2d.tif", encoded(grey, "TIFF"))
        wheel.writestr("stardist/data/images/mask2d.tif", encoded(numbers, "TIFF"))
    return path


def write_trees(folder: Path) -> Path:
    path = folder / "deepforest-2.1.0-py3-none-any.whl"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    box = "<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>13</xmax><ymax>20</ymax></bndbox>"
    with zipfile.ZipFile(path, "w") as wheel:
        for place in (
            "2019_YELL_2_528000_4978000_image_crop2",
            "2019_YELL_2_541000_4977000_image_crop",
        ):
            wheel.writestr(f"deepforest/data/{place}.png", encoded(pixels, "PNG"))
            wheel.writestr(
                f"deepforest/data/{place}.xml", f"<annotation><object>{box}</object></annotation>"
            )
    return path


def test_nuclei_become_tiles_in_the_layout_of_coco(example: ModuleType, tmp_path: Path) -> None:
    example.write_coco("nuclei", zipfile.ZipFile(write_nuclei(tmp_path)), tmp_path)
    content = json.loads((tmp_path / "train.json").read_text())
    assert len(content["images"]) == 5 * 3, "steps of 16 in 96 x 64, the upper three quarters"
    train, test = (
        CocoInstances(tmp_path / p, tmp_path / f"{p}.json", p == "train") for p in ("train", "test")
    )
    assert train.classes == ("nuclei",) and len(test) == 2
    image, target = train[0]
    assert image.shape == (3, 32, 32) and target["boxes"].tolist() == [[6, 4, 18, 14]]
    assert target["masks"][0, 4:14, 6:18].all() and target["masks"].sum() == 120
    assert image[:, 4:14, 6:18].min() == 255, "brightness is stretched"
    assert test[0][1]["boxes"].tolist() == [[8, 8, 20, 18]]


def test_boxes_of_trees_become_tiles(example: ModuleType, tmp_path: Path) -> None:
    example.write_coco("trees", zipfile.ZipFile(write_trees(tmp_path)), tmp_path)
    image, target = CocoInstances(tmp_path / "train", tmp_path / "train.json", True)[0]
    assert image.shape == (3, 32, 32) and target["boxes"].tolist() == [[3, 5, 13, 20]]


def test_the_version_that_is_named_is_fetched_once(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def download(command: list[str], check: bool) -> None:
        calls.append(command)
        write_nuclei(tmp_path)

    monkeypatch.setattr(subprocess, "run", download)
    write_nuclei(tmp_path, version="0.9.1")
    for _ in range(2):
        assert example.fetch(*example.PACKAGES["nuclei"], tmp_path).filename.endswith(
            "stardist-0.9.2-py3-none-any.whl"
        )
    assert len(calls) == 1 and calls[0][-1] == "stardist==0.9.2"


def test_one_step_of_training(
    example: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_nuclei(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["natural_images.py", "nuclei", "--steps", "1", "--folder", str(tmp_path)]
    )
    example.main()
    said = capsys.readouterr().out
    assert "train tiles, 2 test tiles" in said and "step 1/1  loss" in said and "box_map50" in said
