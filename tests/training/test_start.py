"""Starting weights: from runs, from our files, from the authors' files, in whole and in part."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from spikedriven.errors import CheckpointError
from spikedriven.models import official_state_dict
from spikedriven.tasks import create_task
from spikedriven.training.config import ModelConfig
from spikedriven.training.start import start_from
from tests.tasks.toys import classifier, masked_autoencoder, recipe
from tests.training.toys import toy_recipe, train


def build(model: ModelConfig, task: str = "classification"):
    return create_task(recipe(model, task)).build_model()


def test_a_classifier_takes_the_whole_encoder_of_the_autoencoder(tmp_path: Path) -> None:
    encoder, model = (
        build(masked_autoencoder(), "pretraining"),
        build(classifier(layer_scale=1e-6, distilled=True)),
    )
    torch.save({"model": official_state_dict(encoder), "epoch": 3}, tmp_path / "authors.pth")
    report = start_from(model, str(tmp_path / "authors.pth"), strict=False)
    own = encoder.state_dict()
    assert all(
        torch.equal(value, own[key]) for key, value in model.state_dict().items() if key in own
    )
    shared = {key for key in own if key.startswith("stages.")}
    assert shared <= model.state_dict().keys() and len(report.loaded) == len(shared)
    assert {key.rsplit(".", 1)[1] for key in report.missing if not key.startswith("head")} == {
        "layer_scale1",
        "layer_scale2",
    }
    assert {key for key in report.missing if key.startswith("head")} == {
        f"{head}.{kind}" for head in ("head", "head_kd") for kind in ("weight", "bias")
    }
    assert all(
        key.startswith(("decoder", "mask_token", "norm", "pos_embed")) for key in report.unexpected
    )


def test_a_head_of_other_classes_is_reported_and_left_alone(tmp_path: Path) -> None:
    train(recipe(classifier()), tmp_path / "r")
    model = build(dataclasses.replace(classifier(), num_classes=3))
    before = model.head.weight.clone()
    report = start_from(model, str(tmp_path / "r"), strict=False)
    assert [line.split(":")[0] for line in report.misshapen] == ["head.bias", "head.weight"]
    assert torch.equal(model.head.weight, before) and "step_" in report.container
    with pytest.raises(
        CheckpointError, match=r"head\.bias: expected \[3\], found \[10\](.|\n)*init_strict: false"
    ):
        start_from(model, str(tmp_path / "r"))


def test_no_weight_depends_on_the_number_of_steps(tmp_path: Path) -> None:
    one, four = (
        dataclasses.replace(classifier(neuron="lif"), time_steps=steps) for steps in (1, 4)
    )
    train(recipe(one), tmp_path / "one")
    model = build(four)
    report = start_from(model, str(tmp_path / "one" / "best"), strict=True)
    assert len(report.loaded) == len(model.state_dict()) and model.time_steps == 4


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="none of its 1 tensors fits"):
        start_from(build(classifier()), str(tmp_path / "other.pth"), strict=False)
    with pytest.raises(CheckpointError, match=r"model\.init .*no checkpoint file"):
        start_from(build(classifier()), str(tmp_path / "missing.pth"))
    with pytest.raises(CheckpointError, match=r"model\.init .*not a run folder"):
        start_from(build(classifier()), str(tmp_path))


def test_a_run_starts_there_its_average_too_and_a_resumed_one_does_not(tmp_path: Path) -> None:
    first, _ = train(toy_recipe(), tmp_path / "first")
    run = {"ema": 0.999999, "max_steps": 2}
    base = toy_recipe(run)
    started = dataclasses.replace(
        base, model=dataclasses.replace(base.model, init=str(tmp_path / "first"))
    )
    second, _ = train(started, tmp_path / "second")
    source = first.net.state_dict()
    for key, value in second.ema.module.state_dict().items():
        torch.testing.assert_close(
            value, source[key], rtol=0, atol=1e-6
        )  # two steps of an average that hardly moves
    lines = map(json.loads, (tmp_path / "second/log.jsonl").read_text().splitlines())
    (line,) = [line for line in lines if line["kind"] == "init"]
    assert sorted(line["loaded"]) == sorted(source) and line["missing"] == []
    (tmp_path / "first").rename(tmp_path / "gone")
    longer = dataclasses.replace(started, run=dataclasses.replace(started.run, max_steps=3))
    third, outcome = train(longer, tmp_path / "second", resume=True)
    assert outcome.step == 3 and third.taken is None


def test_the_report_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(toy_recipe(), tmp_path / "first")
    base = toy_recipe({"max_steps": 1})
    train(
        dataclasses.replace(
            base, model=dataclasses.replace(base.model, init=str(tmp_path / "first"))
        ),
        tmp_path / "b",
    )
    assert "starting weights: 4 tensors loaded from" in capsys.readouterr().err
