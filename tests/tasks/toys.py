"""Tiny recipes on a piece of fashion-mini: 200 train images, 200 for evaluation, 16 x 16 pixels."""

import dataclasses
from typing import Any

from spikedriven.data import DataConfig
from spikedriven.recipes.types import ModelConfig, OptimConfig, Recipe, RunConfig, ScheduleConfig

WIDTHS = {
    "embed_dims": [8, 16, 16],
    "depths": [1, 1, 1, 2],
    "strides": [2, 2, 1, 1],
    "num_heads": 2,
    "mlp_ratio": 1,
}
ENCODER = {**WIDTHS, "rep_branch": False}
DECODER = {"decoder_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2}
DATA = DataConfig(
    dataset="fashion-mini",
    img_size=16,
    workers=0,
    val_fraction=0.02,
    train_fraction=200 / 9800,
    hflip=0.5,
)


def classifier(**args: Any) -> ModelConfig:
    return ModelConfig(
        name="e_spikeformer_83m", num_classes=10, args={**ENCODER, "layer_scale": 0.0, **args}
    )


def masked_autoencoder(**args: Any) -> ModelConfig:
    return ModelConfig(name="spike_mae_12_512", args={**ENCODER, **DECODER, **args})


def recipe(model: ModelConfig, task: str = "classification", **changes: Any) -> Recipe:
    base = Recipe(
        task="pretraining" if task == "pretraining" else "classification",
        model=model,
        data=DATA,
        optim=OptimConfig(lr=3e-3),
        schedule=ScheduleConfig(kind="cosine_iter", epochs=1),
        run=RunConfig(device="cpu", batch_size=20, log_steps=1),
    )
    return dataclasses.replace(base, task=task, **changes)
