"""The report of a segmenter: mean and per-class overlap, predictions drawn beside the labels."""

import re
from pathlib import Path

import numpy as np
import pytest

from spikedriven.cli import main
from spikedriven.data import build_eval_loader, create_dataset
from spikedriven.data.scenes import SCENE_CLASSES
from spikedriven.report.dense import measure_dense
from spikedriven.report.findings import Findings, investigate
from spikedriven.report.page import page
from spikedriven.report.subject import Request, open_subject
from spikedriven.runs.distributed import World
from spikedriven.tasks.segmentation import measure_overlap

TOY = str(Path(__file__).parents[1] / "tasks" / "toy_segmentation.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter") / "run"
    assert main(["train", TOY, "--run.out", str(folder), "--schedule.epochs", "4"]) == 0
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> Findings:
    return investigate(open_subject(Request(str(run), images=3, samples=2, batch_size=2)))


def test_figures_are_those_of_the_whole_split(found: Findings) -> None:
    subject = found.subject
    loader = build_eval_loader(subject.data, batch_size=3)
    expected = measure_overlap(
        subject.model, loader, 11, World(0, 1, next(subject.model.parameters()).device)
    )
    assert found.dense is not None and found.accuracy is None
    assert found.dense.headline == ("mIoU", f"{expected.miou:.2f} %")
    assert (
        f"pixel accuracy {expected.pixel_accuracy:.2f} %" in found.dense.text
        and "all 6 images" in found.dense.text
    )
    assert [row[0] for row in found.dense.rows] == list(SCENE_CLASSES)
    for row, iou in zip(found.dense.rows, expected.iou().tolist(), strict=True):
        assert row[2] == ("–" if np.isnan(iou) else f"{iou:.1f}")


def test_pictures_show_labels_and_prediction(found: Findings) -> None:
    assert found.dense is not None and len(found.dense.images) == 2
    drawn = found.dense.images[0]
    assert [name for name, _ in drawn.panels] == ["picture", "labels", "prediction"]
    image, truth = create_dataset(found.subject.data, "test")[0]
    pixels = drawn.panels[0][1]
    assert np.array_equal(pixels, image.permute(1, 2, 0).numpy())
    changed = (drawn.panels[1][1] != pixels).any(-1)
    assert np.array_equal(changed & (truth.numpy() == 0), np.zeros_like(changed)), (
        "background is not coloured"
    )
    assert {SCENE_CLASSES.index(name) for name, _ in drawn.legend} >= set(
        truth.unique().tolist()
    ) - {0}


def test_the_page_has_the_table_the_pictures_and_the_curves(found: Findings) -> None:
    html = page(found)
    assert found.dense is not None
    assert (
        f"<dt>mIoU</dt><dd>{found.dense.headline[1]}</dd>" in html and "top-1 accuracy" not in html
    )
    for name in SCENE_CLASSES:
        assert name in html
    assert html.count("<figcaption>prediction</figcaption>") == 2
    assert len(re.findall(r'alt="fashion-scenes test \d+ \(seed 0\): labels"', html)) == 2
    assert "Overlap, per cent" in html and "Intersection over union per class" in html


def test_random_weights_and_noise_have_no_quality() -> None:
    subject = open_subject(Request("sdt_2_256_cifar", img_size=16, time_steps=2))
    assert measure_dense(subject, lambda items, what: items) is None


def test_part_of_the_split_is_said_to_be_a_part(run: Path) -> None:
    subject = open_subject(Request(str(run), accuracy_images=3, samples=0, batch_size=2))
    found = measure_dense(subject, lambda items, what: items)
    assert found is not None and "3 evenly spaced of 6 images" in found.text and found.images == ()
