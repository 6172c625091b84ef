"""Reports, predictions and evaluations of masked pre-training: pictures put together from the
right patches.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.cli import main
from spikedriven.data import build_eval_loader, create_dataset
from spikedriven.report.findings import Findings
from spikedriven.report.history import read_history
from spikedriven.report.images import network_input
from spikedriven.report.masked import HIDDEN, reconstruct
from spikedriven.report.page import page
from spikedriven.runs.checkpoint import load_run
from spikedriven.tasks.pretraining import MaskedError, evaluation_noise, masked_errors
from tests.report.test_page import Document
from tests.training.toys import ALONE


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A colour photograph's shape: not square, larger than the network's input."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def image_of(masked_run: Path) -> tuple:
    """The network, its data section, and the first test image as the network reads it."""
    model, base = load_run(masked_run)
    return model, base.data, network_input(create_dataset("fashion-mini", "test")[0][0], base.data)


def test_hidden_patches_are_grey_and_pasted_ones_predicted(masked_run: Path) -> None:
    model, data, image = image_of(masked_run)
    result = reconstruct(model, image, data, seed=5, index=2)
    original, masked, predicted, pasted = (pixels for _, pixels in result.panels)
    mask = model(image, evaluation_noise(model, 5, [2])).mask[0].view(4, 4).numpy()
    hidden = mask.repeat(4, 0).repeat(4, 1)
    assert original.shape == (16, 16, 3) and 0 < hidden.sum() < hidden.size
    assert (masked[hidden] == HIDDEN).all() and np.array_equal(masked[~hidden], original[~hidden])
    assert np.array_equal(pasted[hidden], predicted[hidden]) and np.array_equal(
        pasted[~hidden], original[~hidden]
    )
    assert (result.error.hidden, result.patches) == (mask.sum(), 16)


def test_a_perfect_prediction_is_the_picture(
    masked_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is predicted are normalised pixels: with the truth in their place the picture comes
    out.
    """
    model, data, image = image_of(masked_run)
    forward = type(model).forward

    def knowing(self, x, noise=None):
        return forward(self, x, noise)._replace(prediction=self.target(x))

    monkeypatch.setattr(type(model), "forward", knowing)
    result = reconstruct(model, image, data)
    original, _, predicted, pasted = (pixels.astype(int) for _, pixels in result.panels)
    assert np.abs(original - predicted).max() <= 1 and np.abs(original - pasted).max() <= 1
    assert result.error.explained == pytest.approx(100.0) and result.error.loss == pytest.approx(
        0.0
    )


def test_plain_areas_have_nothing_to_explain(masked_run: Path) -> None:
    model, data, image = image_of(masked_run)
    told = reconstruct(model, torch.zeros_like(image), data).to_dict()
    assert told["explained"] is None and told["loss"] >= 0
    assert MaskedError(1.0, 4.0, 2, 1).explained == 75.0 and MaskedError(1.0, 4.0, 2, 1).loss == 0.5


def test_eval_gives_the_figures_of_the_log(
    masked_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = read_history(masked_run)
    assert history is not None
    logged = history.evaluated[-1]
    capsys.readouterr()
    assert main(["eval", str(masked_run), "--json", "--batch-size", "33"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["loss"] == pytest.approx(logged["loss"], rel=1e-5)
    assert told["explained"] == pytest.approx(logged["explained"], rel=1e-3, abs=1e-3)
    assert (told["images"], told["hidden"], told["mask_seed"]) == (2000, 2000 * 8, 42)
    assert main(["eval", str(masked_run)]) == 0
    assert f"explained variance {told['explained']:.2f} %" in capsys.readouterr().out
    assert main(["eval", str(masked_run.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["loss"] == pytest.approx(
        told["loss"], rel=1e-6
    )


def test_the_report_measures_the_same_masks(masked_run: Path, found_masked: Findings) -> None:
    """Of 50 of 2000 images, each with the mask that it has when all are measured."""
    model, base = load_run(masked_run)
    assert (
        found_masked.dense is not None
        and found_masked.accuracy is None
        and not found_masked.samples
    )
    evaluated = build_eval_loader(base.data, "test", batch_size=1).dataset
    indices = list(range(0, 2000, 40))
    images, _ = evaluated.collate([evaluated[index] for index in indices])
    with torch.inference_mode():
        rows = masked_errors(model, images, evaluation_noise(model, base.run.seed, indices))
    expected = MaskedError.of(rows, ALONE)
    name, value = found_masked.dense.headline
    assert name == "explained variance" and float(value.split()[0]) == pytest.approx(
        expected.explained, abs=0.02
    )
    loss = re.search(r"Masked loss ([\d.]+),", found_masked.dense.text)
    assert loss is not None and float(loss[1]) == pytest.approx(expected.loss, abs=2e-4)
    explained = [float(row[1]) for row in found_masked.dense.rows]
    assert len(explained) == 5 and explained == sorted(explained)
    assert [drawn.name.split(":")[0] for drawn in found_masked.dense.images] == [
        "image 0",
        "image 666",
        "image 1333",
    ]


def test_the_page_shows_curves_pictures_and_commands(
    masked_run: Path, found_masked: Findings
) -> None:
    document = Document(page(found_masked))
    headings = [text for _, _, text in document.all("h2")]
    links = [
        text
        for _, attrs, text in document.all("a")
        if attrs.get("href") in ("#accuracy", "#predictions")
    ]
    assert links == ["Explained variance", "Reconstructions"] and set(links) < set(headings)
    assert len(document.all("img")) == 3 * 4 + 3  # and the network, its raster, the energy
    titles = [text for _, _, text in document.all("figcaption")]
    assert titles[:2] == ["Loss", "Explained variance of hidden patches, per cent"]
    assert titles.count("pasted") == titles.count("masked") == 3
    text = "".join(document.all("main")[0][2])
    first = "first batch of each evaluation (1 on record)"
    for expected in (
        "Masked pre-training: firing rates",
        "in a random order",
        "spikedriven eval",
        first,
    ):
        assert expected in text, expected
    assert not re.search(r"\b0 classes", text)


def test_predict_draws_four_panels(
    masked_run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    words = ["predict", str(masked_run), str(photo), str(photo), "--out", str(tmp_path / "drawn")]
    assert main([*words, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["task"] == "pretraining" and (first["hidden"], first["patches"]) == (8, 16)
    assert {**first, "drawn": ""} == {**second, "drawn": ""}, "a picture always has the same mask"
    with Image.open(first["drawn"]) as drawn:
        assert drawn.size[0] == 4 * 360
    assert main(words) == 0
    assert "8 of 16 patches hidden: masked loss" in capsys.readouterr().out


def test_firing_and_attention_are_those_of_the_encoder(
    masked_run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for _ in range(2):  # the forward pass would draw another mask each time
        assert main(["firing", str(masked_run), "--images", "4", "--json"]) == 0
    told = capsys.readouterr().out
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert (
        main(["attention", str(masked_run), str(photo), "--out", str(tmp_path / "maps.png")]) == 0
    )


def test_the_last_line_of_train_names_a_command_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--data.train-fraction",
        "0.01",
        "--data.val-fraction",
        "0.01",
        "--schedule.epochs",
        "2",
    ]
    words = [
        "train",
        "study_mae_pretrain",
        "--run.out",
        str(tmp_path / "r"),
        "--run.batch-size",
        "20",
        *small,
    ]
    assert main([*words, "--run.eval-epochs", "1"]) == 0
    *_, chosen, last = capsys.readouterr().out.splitlines()
    assert "r/best: Step" in chosen and "sets aside from training" in chosen
    command = last.split("spikedriven ")[1].split()
    assert main([*command, "--split", "val"]) == 0
    assert "masked loss" in capsys.readouterr().out
