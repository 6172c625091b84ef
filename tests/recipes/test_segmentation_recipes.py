"""The segmentation recipes: effective values of the releases, typed in independently; each
family at toy length.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from spikedriven.cli import main
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.runs.networks import build_segmenter
from spikedriven.tasks import create_task
from spikedriven.training.schedule import learning_rate
from tests.data.segmentation.folders import make_ade, make_voc, make_voc_aug

FPN = "semantic_fpn"

# network, backbone, T, classes, width, batch, steps, steps between evaluations, peak, parameters
RECIPES = {
    "e_spikeformer_ade20k_10m": (
        FPN,
        "e_spikeformer_10m",
        1,
        150,
        128,
        16,
        160_000,
        2_500,
        1e-3,
        11_485_462,
    ),
    "e_spikeformer_ade20k_19m": (
        FPN,
        "e_spikeformer_19m",
        1,
        150,
        128,
        16,
        160_000,
        8_000,
        1e-3,
        20_354_254,
    ),
    "meta_spikeformer_ade20k_15m": (
        FPN,
        "meta_spikeformer_15m",
        1,
        150,
        128,
        8,
        160_000,
        2_500,
        1e-3,
        None,
    ),
    "meta_spikeformer_ade20k_15m_t4": (
        FPN,
        "meta_spikeformer_15m",
        4,
        150,
        128,
        8,
        80_000,
        2_500,
        1e-4,
        None,
    ),
    "meta_spikeformer_ade20k_55m": (
        FPN,
        "meta_spikeformer_55m",
        1,
        150,
        256,
        8,
        160_000,
        2_500,
        1e-3,
        None,
    ),
    "meta_spikeformer_ade20k_fcn_15m_t4": (
        "fcn",
        "meta_spikeformer_15m",
        4,
        150,
        None,
        4,
        160_000,
        5_000,
        1e-3,
        None,
    ),
    "meta_spikeformer_voc12aug_15m": (
        FPN,
        "meta_spikeformer_15m",
        1,
        21,
        128,
        10,
        80_000,
        8_000,
        1e-3,
        None,
    ),
    "meta_spikeformer_voc12aug_55m": (
        FPN,
        "meta_spikeformer_55m",
        1,
        21,
        256,
        3,
        80_000,
        5_000,
        1e-3,
        None,
    ),
    "meta_spikeformer_voc2012_15m": (
        FPN,
        "meta_spikeformer_15m",
        1,
        21,
        128,
        10,
        40_000,
        2_500,
        1e-3,
        None,
    ),
    "meta_spikeformer_voc2012_55m": (
        FPN,
        "meta_spikeformer_55m",
        1,
        21,
        256,
        10,
        40_000,
        2_500,
        1e-3,
        None,
    ),
}
#: Share of the peak with which training ends: the decay of one configuration is meant for twice the
#: steps.
LAST = {"meta_spikeformer_voc12aug_15m": 1 - 78_500 / 158_500}


def test_every_published_segmentation_recipe_is_here() -> None:
    ours = {name for name in list_recipes() if load_recipe(name).task == "segmentation"}
    assert ours == {*RECIPES, "fashion_scenes_semantic_fpn", "own_segmentation"}


@pytest.mark.parametrize("name", RECIPES)
def test_effective_values(name: str) -> None:
    network, backbone, _, _, width, batch, steps, between, peak, _ = RECIPES[name]
    recipe = load_recipe(name)
    assert (recipe.model.name, recipe.model.args["width"]) == (network, width)
    data, schedule, optim, run = recipe.data, recipe.schedule, recipe.optim, recipe.run
    assert recipe.model.args["backbone"] == backbone and recipe.model.args["mode"] == "released"
    assert not recipe.model.init_strict and recipe.model.init is None
    assert data.epoch_images == between * batch and run.batch_size == batch
    assert schedule.total_epochs * between == steps and run.eval_epochs == 1
    assert (data.img_size, data.resize, data.resize_range) == (512, (2048, 512), (0.5, 2.0))
    assert (data.max_class_share, data.hflip, data.photometric) == (0.75, 0.5, True)
    assert (optim.name, optim.lr, optim.weight_decay, optim.betas, optim.head_lr_scale) == (
        "adamw", peak, 0.005, None, 10.0 if "voc12aug" in name else 2.0,
    )  # fmt: skip
    rate = lambda step: learning_rate(schedule, peak, step / between)  # noqa: E731
    assert rate(0) == pytest.approx(peak * 1e-6, rel=0.11 if peak == 1e-3 else 10)
    assert rate(1500) == pytest.approx(peak) and rate(750) == pytest.approx(peak / 2, rel=1e-3)
    last = LAST.get(name, 0.0)
    assert rate((steps + 1500) / 2) == pytest.approx(peak * (1 + last) / 2, rel=1e-4)
    assert rate(steps) == pytest.approx(peak * last, rel=1e-4)
    assert run.amp == ("fp16" if name.endswith("t4") else "none") and run.clip_grad is None


@pytest.mark.parametrize("name", RECIPES)
def test_networks(name: str) -> None:
    network, _, steps, classes, *_, parameters = RECIPES[name]
    recipe = load_recipe(name)

    with torch.device("meta"):
        model = build_segmenter(dataclasses.replace(recipe.model, num_classes=classes), recipe.data)
    assert model.time_steps == steps and model.num_classes == classes
    assert model.indices == ([0, 1, 2, 4] if network == FPN else [4])
    assert model.keep_time == name.startswith("meta")
    if parameters is not None:
        assert sum(p.numel() for p in model.parameters()) == parameters


SMALL = [
    "--data.workers",
    "0",
    "--data.img-size",
    "64",
    "--data.resize",
    "128",
    "64",
    "--model.args.backbone-args",
    "{embed_dims: [8, 16, 16, 16], depths: [1, 1, 1, 1, 1], num_heads: 2, mlp_ratio: 1}",
    "--run.device",
    "cpu",
    "--run.batch-size",
    "2",
    "--run.log-steps",
    "1",
    "--data.epoch-images",
    "4",
    "--schedule.epochs",
    "1",
    "--schedule.warmup-epochs",
    "0.5",
]


@pytest.mark.parametrize(
    ("name", "make"),
    [("e_spikeformer_ade20k_10m", make_ade), ("meta_spikeformer_ade20k_15m", make_ade),
     ("meta_spikeformer_voc2012_15m", make_voc), ("meta_spikeformer_voc12aug_15m", make_voc_aug),
     ("meta_spikeformer_ade20k_fcn_15m_t4", make_ade)],
)  # fmt: skip
def test_families_at_toy_length(name: str, make, tmp_path: Path) -> None:
    make(tmp_path)
    run = tmp_path / "run"
    narrow = [] if RECIPES[name][0] == "fcn" else ["--model.args.width", "16"]
    words = [
        *SMALL,
        *narrow,
        "--run.amp",
        "none",
        "--data.root",
        str(tmp_path),
        "--run.out",
        str(run),
    ]
    assert main(["train", name, *words]) == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2]
    figures = next(line for line in lines if line["kind"] == "eval")
    assert 0 <= figures["miou"] <= 100 and figures["loss"] > 0


def test_t4_continues_a_run_at_t1(tmp_path: Path) -> None:
    make_ade(tmp_path)
    first, second = tmp_path / "t1", tmp_path / "t4"
    words = [*SMALL, "--model.args.width", "16", "--data.root", str(tmp_path)]
    assert main(["train", "meta_spikeformer_ade20k_15m", *words, "--run.out", str(first)]) == 0
    start = ["--model.init", str(first), "--run.amp", "none"]
    assert (
        main(["train", "meta_spikeformer_ade20k_15m_t4", *words, *start, "--run.out", str(second)])
        == 0
    )
    lines = [json.loads(line) for line in (second / "log.jsonl").read_text().splitlines()]
    taken = next(line for line in lines if line["kind"] == "init")
    assert not taken["missing"] and not taken["unexpected"], "one network at another T"
    task = create_task(load_recipe(str(second)))
    assert task.build_model().time_steps == 4
