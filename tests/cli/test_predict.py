"""`spikedriven predict` on runs of the three tasks."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.cli import main
from spikedriven.data.scenes import SCENE_CLASSES, FashionScenes
from spikedriven.data.segmentation.transforms import normalize
from spikedriven.models.names import name_classes
from spikedriven.models.segmentation import Segmenter
from spikedriven.report.predictions import class_names, predict_picture
from spikedriven.runs.checkpoint import load_run

TESTS = Path(__file__).parents[1]
DETECTOR = [
    "fashion_scenes_mask_rcnn",
    "--data.train-images",
    "2",
    "--data.scene-size",
    "64",
    "--data.sizes",
    "64",
    "--data.test-size",
    "64",
    "--data.max-size",
    "64",
    "--run.batch-size",
    "2",
]


def trained(folder: Path, *words: str) -> Path:
    assert main(["train", *words, "--run.out", str(folder), "--run.max-steps", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("runs") / "segmenter",
        str(TESTS / "tasks" / "toy_segmentation.yaml"),
    )


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "detector", *DETECTOR)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("runs") / "classifier", str(TESTS / "end_to_end" / "tiny.yaml")
    )


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A test scene, 96 x 80 pixels: another size than the networks were trained on."""
    path = tmp_path / "scene.png"
    Image.fromarray(FashionScenes("test", 96)[3][0].permute(1, 2, 0).numpy()[:80]).save(path)
    return path


def read(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.array(image)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict]:
    capsys.readouterr()
    assert main(["predict", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_segmentation(
    segmenter: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drawn"
    (record,) = said(capsys, segmenter, scene, "--out", out)
    assert sum(record["shares"].values()) == pytest.approx(1.0) and record["shares"].keys() <= set(
        SCENE_CLASSES
    )
    assert read(record["drawn"]).ndim == 3 and Path(record["drawn"]).parent == out
    labels = read(record["labels"])
    assert labels.shape == (80, 96)
    for name, share in record["shares"].items():
        assert (labels == SCENE_CLASSES.index(name)).mean() == pytest.approx(share)
    assert main(["predict", str(segmenter), str(scene), "--out", str(out)]) == 0
    assert "background" in capsys.readouterr().out


def test_the_label_map_is_the_networks(segmenter: Path, scene: Path) -> None:
    """Of the class with the largest logit at each pixel, in the picture's own size."""
    model, recipe = load_run(segmenter)
    assert isinstance(model, Segmenter)
    found = predict_picture(model, recipe.data, scene, class_names(model, recipe.data))
    pixels = torch.from_numpy(read(scene)).permute(2, 0, 1)
    with torch.inference_mode():
        expected = model(normalize(pixels, recipe.data)[None]).argmax(1)[0]
    assert np.array_equal(found.labels, expected.numpy())
    assert len(found.panels) == 2 and found.panels[1][1].shape == (80, 96, 3)


def test_detection(
    detector: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = said(capsys, detector, scene, "--out", tmp_path, "--score", "0")
    for found in record["objects"]:
        x0, y0, x1, y1 = found["box"]
        assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 80, "boxes are in the picture's own pixels"
        assert found["class"] == SCENE_CLASSES[found["label"]]
    assert read(record["drawn"]).ndim == 3 and "labels" not in record
    (none,) = said(capsys, detector, scene, "--out", tmp_path, "--score", "1")
    assert none["objects"] == []


def test_classification(
    classifier: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = said(capsys, classifier, scene, "--out", tmp_path, "--top", "3")
    shares = [row["share"] for row in record["top"]]
    assert len(shares) == 3 and shares == sorted(shares, reverse=True) and sum(shares) < 1
    assert all(row["class"] == SCENE_CLASSES[row["index"] + 1] for row in record["top"])


def test_pictures_of_one_name_do_not_overwrite_each_other(
    segmenter: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "elsewhere" / "scene.png"
    twin.parent.mkdir()
    twin.write_bytes(scene.read_bytes())
    records = said(capsys, segmenter, scene, twin, "--out", tmp_path / "out")
    assert [Path(record["drawn"]).name for record in records] == ["scene.png", "scene-2.png"]
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_what_cannot_be_done(
    segmenter: Path, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(scene.read_bytes()[:200])
    for words, message in (
        ((segmenter, broken), "broken.png cannot be read as an image"),
        ((segmenter, tmp_path / "none.png"), "none.png cannot be read as an image"),
        ((segmenter, scene, "--score", "2"), "expected 0 to 1"),
        ((segmenter, scene, "--top", "0"), "at least 1"),
        (("sdt_2_256_cifar", scene), "has random weights: give a run folder, or --checkpoint"),
        (("sdt_2_256_gesture", scene), "random weights"),
        ((tmp_path, scene), "no recipe.yaml"),
    ):
        assert main(["predict", *map(str, words), "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err


def test_classes_without_their_data_set_are_numbered(segmenter: Path, tmp_path: Path) -> None:
    model, recipe = load_run(segmenter)
    elsewhere = dataclasses.replace(recipe.data, dataset="ade20k", root=tmp_path)
    assert class_names(model, elsewhere) == list(SCENE_CLASSES), "the run has kept them"
    name_classes(model, ())  # as of a run of an earlier version
    assert (
        class_names(model, elsewhere)[:2] == ["class 0", "class 1"]
        and len(class_names(model, elsewhere)) == 11
    )
    assert class_names(model, None)[10] == "class 10"
