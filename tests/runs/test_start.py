"""Starting weights: from runs, from our files, from the authors' files, in whole and in part."""

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import official_state_dict
from spikedriven.models.header import Provenance, header
from spikedriven.recipes.types import ModelConfig, Recipe
from spikedriven.runs.start import check_told, start_from
from spikedriven.tasks import create_task
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
    message = r"head\.bias: expected \[3\], found \[10\](.|\n)*--model\.init-strict false"
    with pytest.raises(CheckpointError, match=message):
        start_from(model, str(tmp_path / "r"))


def test_no_weight_depends_on_the_number_of_steps(tmp_path: Path) -> None:
    one, four = (
        dataclasses.replace(classifier(neuron="lif"), time_steps=steps) for steps in (1, 4)
    )
    train(recipe(one), tmp_path / "one")
    model = build(four)
    report = start_from(model, str(tmp_path / "one" / "best"), strict=True)
    assert len(report.loaded) == len(model.state_dict()) and model.time_steps == 4


def silent(path: Path, name: str = "e_spikeformer_5m", **args) -> Recipe:
    """A recipe that starts from a file, and says no more of its network than that."""
    return recipe(ModelConfig(name=name, args=args, init=str(path)))


def test_what_no_shape_tells_is_asked_for_before_training_starts(tmp_path: Path) -> None:
    path = tmp_path / "authors.pth"
    torch.save({"state_dict": {"x": torch.zeros(1)}}, path)
    with pytest.raises(
        InputError, match=r"do not tell levels of e_spikeformer_5m.*--model\.args\.levels VALUE"
    ):
        train(silent(path), tmp_path / "run")
    with pytest.raises(
        InputError, match=r"e_spikeformer_83m\.mae_in1k_1x8 "
    ):  # the files that it may be
        check_told(silent(path, "e_spikeformer_83m"))
    with pytest.raises(
        InputError, match="do not tell time_steps and num_heads of spikingformer_8_384"
    ):
        check_told(silent(path, "spikingformer_8_384"))
    check_told(silent(path, levels=8))
    check_told(silent(path, "e_spikeformer_83m.mae_in1k_1x8"))
    check_told(silent(path, "spikingformer_8_384", time_steps=4, num_heads=8))
    check_told(silent(tmp_path / "a_run"))  # which is the network of its recipe


def test_a_header_beside_the_weights_answers_where_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    for levels in (4, 8):
        beside = header(Provenance("e_spikeformer_5m", args={"levels": levels}))
        safetensors.torch.save_file({"x": torch.zeros(1)}, path, beside)
        check_told(silent(path, levels=2))  # the recipe decides
        if levels == 4:
            check_told(silent(path))  # the network's own
    with pytest.raises(
        InputError, match=r"(?s)--model\.args\.levels VALUE.*its header says levels 8"
    ):
        check_told(silent(path))


def test_the_body_of_a_detector_is_asked_for_like_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "authors.pth"
    torch.save({"state_dict": {"x": torch.zeros(1)}}, path)
    body = {"backbone": "meta_spikeformer_15m"}
    with pytest.raises(
        InputError,
        match=r"(?s)do not tell time_steps.*--model\.args\.backbone_args\.time_steps VALUE",
    ):
        check_told(silent(path, "mask_rcnn", **body))
    check_told(silent(path, "mask_rcnn", **body, time_steps=1))
    check_told(silent(path, "semantic_fpn", **body, backbone_args={"time_steps": 1}))
    beside = header(Provenance("e_spikeformer_10m", args={"levels": 8}))
    ours = tmp_path / "ours.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, ours, beside)
    with pytest.raises(
        InputError, match=r"(?s)backbone_args\.levels VALUE.*its header says levels 8"
    ):
        check_told(silent(ours, "mask_rcnn", backbone="e_spikeformer_10m"))
    check_told(silent(ours, "mask_rcnn", backbone="e_spikeformer_10m", backbone_args={"levels": 8}))


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
    source = first.learner.net.state_dict()
    for key, value in second.learner.ema.module.state_dict().items():
        torch.testing.assert_close(
            value, source[key], rtol=0, atol=1e-6
        )  # two steps of an average that hardly moves
    lines = map(json.loads, (tmp_path / "second/log.jsonl").read_text().splitlines())
    (line,) = [line for line in lines if line["kind"] == "init"]
    assert sorted(line["loaded"]) == sorted(source) and line["missing"] == []
    (tmp_path / "first").rename(tmp_path / "gone")
    longer = dataclasses.replace(started, run=dataclasses.replace(started.run, max_steps=3))
    third, outcome = train(longer, tmp_path / "second", resume=True)
    assert outcome.step == 3 and third.learner.taken is None


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


def test_a_name_stands_for_the_weights_that_ship() -> None:
    name = "e_spikeformer_fashion"
    shipped = sd.create_model(name, pretrained=True)
    model = sd.create_model(name)
    report = start_from(model, name)
    assert len(report.loaded) == len(model.state_dict())
    assert all(torch.equal(v, shipped.state_dict()[k]) for k, v in model.state_dict().items())
    other = sd.create_model(name, num_classes=3)
    assert {key.split(".")[0] for key in start_from(other, name, strict=False).missing} <= {"head"}
    with pytest.raises(
        InputError, match=r"no weights of this network ship \(of e_spikeformer_fashion"
    ):
        start_from(model, "sdt_8_512")
    with pytest.raises(InputError, match="not on this machine"):
        start_from(model, "sdt_8_512.in1k")
    with pytest.raises(CheckpointError, match=r"model.init nowhere"):
        start_from(model, "nowhere")


def test_the_keywords_of_weights_that_ship_are_known() -> None:
    name = "e_spikeformer_fashion"
    plain = ModelConfig(name=name, init=name, num_classes=3)
    check_told(recipe(plain))
    with pytest.raises(InputError, match="its tensors do not tell levels"):
        check_told(recipe(dataclasses.replace(plain, name="e_spikeformer_3m")))
