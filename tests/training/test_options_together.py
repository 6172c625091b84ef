"""The options of timm side by side in one run: it resumes to the same bits, and its folder says
what it computed.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import LossConfig, OptimConfig, Recipe, RunConfig, ScheduleConfig
from spikedriven.training.loop import Trainer
from tests.tasks.toys import DATA, classifier, recipe
from tests.training.toys import train


def everything(steps: int, **run: int) -> Recipe:
    data = dataclasses.replace(
        DATA,
        sampling="balanced",
        aug_repeats=2,
        auto_augment="augmix-m5-w2-d2",
        mixup=0.8,
        cutmix_minmax=(0.2, 0.8),
        mixup_mode="elem",
        smoothing=0.1,
    )
    base = recipe(dataclasses.replace(classifier(), freeze=("stages.0",)), run=RunConfig(
        device="cpu", log_steps=1, ema=0.9, max_steps=steps, **{"batch_size": 20, **run}
    ))  # fmt: skip
    return dataclasses.replace(
        base,
        data=data,
        loss=LossConfig(class_weights="balanced"),
        optim=OptimConfig(name="lookahead_adan", lr=3e-3, args={"caution": True}),
        schedule=ScheduleConfig(kind="timm/poly", epochs=2, power=2.0),
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.learner.net.state_dict().items()}


def test_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, _ = train(everything(6), tmp_path / "whole")
    train(everything(2), tmp_path / "r")
    resumed, _ = train(everything(6), tmp_path / "r", resume=True)
    assert [
        name
        for name, value in weights(whole).items()
        if not torch.equal(weights(resumed)[name], value)
    ] == []
    stored = read_recipe(tmp_path / "r" / "recipe.yaml")
    counts = np.bincount(whole.loader.targets, minlength=10)
    assert stored.loss.class_weights == tuple((len(whole.loader.targets) / (10 * counts)).tolist())
    again = dataclasses.replace(stored, run=dataclasses.replace(stored.run, max_steps=7))
    assert train(again, tmp_path / "r", resume=True)[1].step == 7, (
        "the numbers in the folder are the same weights"
    )
