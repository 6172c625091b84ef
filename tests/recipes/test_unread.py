"""Options that nothing would read are refused; each rule's fields are there, and defaults are
never refused.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from spikedriven.cli import main
from spikedriven.data import (
    DetectionDataConfig,
    EventDataConfig,
    FramedEventConfig,
    SegmentationDataConfig,
)
from spikedriven.data.config import DataConfig
from spikedriven.data.events.har_dvs import HarDvsConfig
from spikedriven.errors import RecipeError
from spikedriven.recipes.reading import read_recipe, recipe_from_dict
from spikedriven.recipes.types import (
    DistillConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    QuantConfig,
    RunConfig,
    ScheduleConfig,
)
from spikedriven.recipes.unread import RULES
from spikedriven.recipes.yaml_text import read_yaml

SECTIONS = {
    "model": (ModelConfig,),
    "loss": (LossConfig,),
    "optim": (OptimConfig,),
    "schedule": (ScheduleConfig,),
    "run": (RunConfig,),
    "distill": (DistillConfig,),
    "quant": (QuantConfig,),
    "data": (
        DataConfig,
        FramedEventConfig,
        EventDataConfig,
        HarDvsConfig,
        DetectionDataConfig,
        SegmentationDataConfig,
    ),
}


def recipe(**sections: dict[str, Any]) -> Any:
    plain: dict[str, Any] = {
        "model": {"name": "m"}, "data": {"dataset": "cifar10", "in_chans": 3}, "optim": {"lr": 0.1},
    }  # fmt: skip
    task = sections.pop("task", None)
    merged = {name: plain.get(name, {}) | sections.get(name, {}) for name in {**plain, **sections}}
    return recipe_from_dict(merged | ({"task": task} if task else {}))


REFUSED: list[dict[str, Any]] = [
    {"loss": {"bce_target_thresh": 0.2}},
    {"loss": {"tet_lamb": 0.1}},
    {"loss": {"tet_means": 0.5}},
    {"loss": {"tet": True, "tet_lamb": 0.0, "tet_means": 0.5}},
    {"schedule": {"kind": "cosine_epoch", "gamma": 0.5}},
    {"schedule": {"power": 0.9}},
    {"schedule": {"kind": "constant", "min_lr": 1e-5}},
    {"schedule": {"warmup_lr": 1e-5}},
    {"schedule": {"kind": "cosine_iter", "warmup_epochs": 5, "warmup_lr": 1e-5}},
    {"optim": {"weight_decay": 0.0, "decay_all": True}},
    {"quant": {"learn_steps": False}},
    {"quant": {"images": 7}},
    {"run": {"ema_warmup": True}},
    {"task": "distillation", "distill": {"teacher": "timm/resnet18", "tau": 2.0}},
    {"task": "distillation", "distill": {"teacher": "runs/a", "checkpoint": "b.pth"}},
    {"task": "pretraining", "data": {"smoothing": 0.1}},
    {"data": {"train_fraction_seed": 3}},
    {"data": {"color_jitter": 0.4, "auto_augment": "rand-m9-mstd0.5-inc1"}},
    {"data": {"random_erasing_mode": "pixel"}},
    {"data": {"random_erasing_count": 2}},
    {"data": {"cutmix": 1.0, "cutmix_minmax": [0.2, 0.8]}},
    {"data": {"mixup_mode": "elem"}},
    {"data": {"mixup_off_epoch": 200}},
    {"data": {"mixup_prob": 0.5}},
    {"data": {"mixup": 0.5, "switch_prob": 0.3}},
    {"data": {"dataset": "fashion-events", "in_chans": None, "event_mix_prob": 0.3}},
    {"data": {"dataset": "dvs128-gesture", "in_chans": None, "cache": False, "cache_dir": "a"}},
    {
        "task": "detection",
        "data": {"dataset": "coco2017", "in_chans": None, "crop_range": [100, 200]},
    },
    {"task": "detection", "data": {"dataset": "coco2017", "in_chans": None, "scene_seed": 1}},
    {"task": "segmentation", "data": {"dataset": "ade20k", "in_chans": 3, "scenes": 7}},
]


@pytest.mark.parametrize("given", REFUSED, ids=str)
def test_what_nothing_reads_is_refused(given: dict[str, Any]) -> None:
    given = {
        name: dict(value) if isinstance(value, dict) else value for name, value in given.items()
    }
    plain = recipe_without_channels if given.get("data", {}).pop("in_chans", 3) is None else recipe
    with pytest.raises(
        RecipeError, match=r"but nothing reads it: it is of use only where .* \(its default is "
    ):
        plain(**given)


def recipe_without_channels(**sections: dict[str, Any]) -> Any:
    task = sections.pop("task", None)
    tree = {"model": {"name": "m"}, "optim": {"lr": 0.1}, **sections}
    return recipe_from_dict(tree | ({"task": task} if task else {}))


@pytest.mark.parametrize(
    "given",
    [
        {"loss": {"kind": "binary_cross_entropy", "bce_target_thresh": 0.2}},
        {"loss": {"tet": True, "tet_lamb": 0.1, "tet_means": 0.5}},
        {"schedule": {"kind": "step", "milestones": [3], "gamma": 0.5}},
        {"schedule": {"warmup_epochs": 3, "warmup_lr": 1e-5, "min_lr": 1e-6}},
        {"run": {"ema": 0.99, "ema_warmup": True}},
        {"data": {"color_jitter": 0.4, "auto_augment": "3a"}},
        {
            "data": {
                "mixup": 0.5,
                "cutmix_minmax": [0.2, 0.8],
                "switch_prob": 0.3,
                "mixup_prob": 0.9,
                "mixup_mode": "pair",
            }
        },
        {
            "data": {
                "random_erasing": 0.2,
                "random_erasing_mode": "pixel",
                "random_erasing_count": 3,
            }
        },
    ],
    ids=str,
)
def test_what_is_read_is_taken(given: dict[str, Any]) -> None:
    recipe(**given)


def test_what_a_recipe_takes_over_and_no_longer_needs_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a base, and from the recipe that a command line changes; not what the file or the
    words say themselves.
    """
    (tmp_path / "a.yaml").write_text(
        "model: {name: m}\ndata: {dataset: fashion-mini}\noptim: {lr: 1}\n"
        "schedule: {kind: step, milestones: [3], gamma: 0.5}\n"
    )
    (tmp_path / "b.yaml").write_text("base: a\nschedule: {kind: cosine_epoch, milestones: []}\n")
    assert read_recipe(tmp_path / "b.yaml").schedule.gamma == ScheduleConfig.gamma
    (tmp_path / "c.yaml").write_text(
        "base: a\nschedule: {kind: cosine_epoch, milestones: [], gamma: 0.5}\n"
    )
    with pytest.raises(
        RecipeError, match=r"c\.yaml: schedule\.gamma: found 0\.5, but nothing reads it"
    ):
        read_recipe(tmp_path / "c.yaml")
    words = [
        "train",
        str(tmp_path / "a.yaml"),
        "--show",
        "--schedule.kind",
        "constant",
        "--schedule.milestones",
    ]
    assert (
        main(words) == 0
        and read_yaml(capsys.readouterr().out)["schedule"]["gamma"] == ScheduleConfig.gamma
    )
    for said in (
        ["--schedule.gamma", "0.5"],
        ["--schedule.gamma=0.7"],
        ["--run.ema_warmup", "true"],
    ):
        assert main([*words, *said]) == 2
        assert "but nothing reads it" in capsys.readouterr().err


def test_every_rule_names_fields_that_there_are() -> None:
    for rule in RULES:
        for path in rule.fields:
            section, _, name = path.partition(".")
            kinds = SECTIONS[section]
            assert any(
                name in {field.name for field in dataclasses.fields(kind)} for kind in kinds
            ), path
