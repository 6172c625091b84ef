"""The recipe: everything that decides what a training run computes, as nested frozen dataclasses.

A recipe is read from YAML (`recipe_io`), changed on the command line (`--optim.lr 1e-3`) and written, complete, into
the run's folder. Field comments below are the help texts of the command line.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from spikedriven.errors import RecipeError

#: A month, seconds.
LONGEST_TIMEOUT_S = 31 * 24 * 3600


def _check_range(config: Any, section: str, names: tuple[str, ...], above: bool = False) -> None:
    """Each of the fields that is given is a finite number of at least 0; above: larger than that."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (0 < value < math.inf or (value == 0 and not above)):
            limit = "above 0" if above else "of at least 0"
            raise RecipeError(f"{section}.{name}: expected a number {limit}, found {value}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    name: str
    """A registered model name (`spikedriven models` lists them), or timm/NAME for one of timm's."""
    time_steps: int | None = None
    """Time steps T. None: the model's own default."""
    num_classes: int | None = None
    """Size of the head. None: as many as the data set has classes."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further keywords of `create_model`, e.g. --model.args.embed_dim 128."""
    init: str | None = None
    """Starting weights: a run folder, RUN/best, a checkpoint folder, or a weights file (ours or the authors')."""
    init_strict: bool = True
    """Every weight must come from `init`. False: take what fits, report the rest."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained, by names with wildcards: stem, blocks.*. One with ! before it
    takes back: "*" "!head" trains the head alone. Batch norms of frozen parts keep their
    statistics."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    name: str = "adamw"
    """Any optimiser of timm by its name there, also with lookahead_ before it. lamb clips the
    global gradient norm to 1 itself."""
    lr: float | None = None
    """Peak learning rate, used as it is. Give either lr or blr."""
    blr: float | None = None
    """Base learning rate: lr = blr * (batch_size * accumulation * processes) / 256."""
    weight_decay: float = 0.05
    """Applied to tensors of two or more dimensions that are not biases."""
    decay_all: bool = False
    """Apply weight_decay to every tensor, biases and norms too."""
    betas: tuple[float, ...] | None = None
    """None: the optimiser's own; of adamw and lamb (0.9, 0.999)."""
    eps: float | None = None
    """None: the optimiser's own; 1e-8 for adamw, 1e-6 for lamb."""
    momentum: float | None = None
    """Of optimisers that have one, such as sgd. None: 0.9."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further keywords of the optimiser, e.g. --optim.args.caution true."""
    trust_clip: bool = False
    """lamb only: limit the trust ratio to 1."""
    layer_decay: float = 1.0
    """Each layer's learning rate is this times that of the layer above it; 1 switches it off."""
    head_lr_scale: float = 1.0
    """The learning rate of parameters whose names begin with "head." is this times that of the others."""

    def __post_init__(self) -> None:
        if (self.lr is None) == (self.blr is None):
            raise RecipeError(
                f"optim: give exactly one of lr and blr, found lr={self.lr}, blr={self.blr}"
            )
        from spikedriven.training.optim import (
            check_optimizer,
        )  # that module reads this configuration

        check_optimizer(self)
        _check_range(self, "optim", ("lr", "blr", "weight_decay", "momentum"))
        _check_range(self, "optim", ("eps",), above=True)
        if self.betas is not None and not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(
                f"optim.betas: expected two numbers from 0 to below 1, found {self.betas}"
            )
        if not 0 < self.layer_decay <= 1:
            raise RecipeError(
                f"optim.layer_decay: expected a number in (0, 1], found {self.layer_decay}"
            )
        if self.decay_all and self.layer_decay < 1:
            raise RecipeError(
                f"optim.decay_all: not offered beside layer_decay, found layer_decay={self.layer_decay}"
            )
        if not 0 < self.head_lr_scale < math.inf or (
            self.head_lr_scale != 1 and self.layer_decay < 1
        ):
            raise RecipeError(
                f"optim.head_lr_scale: expected a number above 0, and no layer_decay beside it; found "
                f"{self.head_lr_scale}"
            )
        if self.trust_clip and self.name != "lamb":
            raise RecipeError(
                f"optim.trust_clip: only lamb has a trust ratio, found optim.name={self.name}"
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    kind: str = "cosine_epoch"
    """cosine_epoch: timm's, constant within an epoch. cosine_iter: that of SDT-V2 and V3, changes
    each step. onecycle, constant. step: the peak, times `gamma` at each of the `milestones`
    (detection). poly: falls as (1 - share)^power, changes each step (segmentation). timm/NAME: a
    scheduler of timm, which changes with the epochs: cosine, tanh, step, multistep, poly, ..."""
    epochs: int = 300
    """Epochs of the schedule, cooldown not counted."""
    cooldown_epochs: int = 0
    """Epochs at min_lr after the schedule."""
    warmup_epochs: float = 0.0
    """Epochs in which the learning rate rises to its peak; part of `epochs`."""
    warmup_lr: float = 0.0
    """Where the warm-up starts (cosine_iter always starts at 0)."""
    min_lr: float = 0.0
    """Where the schedule ends."""
    milestones: tuple[float, ...] = ()
    """step and timm/multistep: epochs after which the learning rate is multiplied by gamma."""
    gamma: float = 0.1
    """step, timm/step and timm/multistep."""
    power: float = 1.0
    """poly and timm/poly; 1: a straight line from the end of the warm-up to min_lr."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further keywords of timm's scheduler, e.g. --schedule.args.decay_epochs 30 of timm/step."""

    def __post_init__(self) -> None:
        _check_range(self, "schedule", ("warmup_lr", "min_lr", "gamma", "power"))
        if self.epochs < 1 or self.cooldown_epochs < 0:
            raise RecipeError(
                f"schedule: expected epochs >= 1 and cooldown_epochs >= 0, "
                f"found {self.epochs} and {self.cooldown_epochs}"
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise RecipeError(
                f"schedule.warmup_epochs: expected at least 0 and less than epochs={self.epochs}, "
                f"found {self.warmup_epochs}"
            )
        stepwise = self.kind in ("step", "multistep", "timm/multistep")
        if list(self.milestones) != sorted(set(self.milestones)) or stepwise != bool(
            self.milestones
        ):
            raise RecipeError(
                f"schedule.milestones: kind step needs epochs that rise, and so does timm/multistep, other kinds "
                f"none; found kind {self.kind} with {self.milestones}"
            )
        from spikedriven.training.schedule import check_kind  # that module reads this configuration

        check_kind(self)

    @property
    def total_epochs(self) -> int:
        """Epochs of the run; timm's schedules may have more than `epochs` (several cycles, a
        warm-up in front)."""
        from spikedriven.training.schedule import epochs_of_timm, is_timm

        return epochs_of_timm(self) if is_timm(self) else self.epochs + self.cooldown_epochs


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    kind: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """Label smoothing and mixing are part of the targets, hence of `data`."""
    bce_target_thresh: float | None = None
    """binary_cross_entropy: targets above this become 1, all others 0."""
    tet: bool = False
    """Temporal efficient training: the loss of each time step's logits, averaged, instead of the loss of their
    average."""
    tet_lamb: float = 1e-3
    """Weight of the term that pulls all logits towards tet_means."""
    tet_means: float = 1.0
    """See tet_lamb."""
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    """A factor for the loss of each class (segmentation: of its pixels). balanced, in
    classification: N / (K n) for a class with n of the N train samples of K classes."""

    def __post_init__(self) -> None:
        if not 0 <= self.tet_lamb <= 1:
            raise RecipeError(f"loss.tet_lamb: expected a share from 0 to 1, found {self.tet_lamb}")
        numbers = () if self.class_weights in (None, "balanced") else self.class_weights
        if not all(
            isinstance(weight, int | float) and 0 <= weight < math.inf for weight in numbers
        ):
            raise RecipeError(
                f"loss.class_weights: expected numbers of at least 0, found {self.class_weights}"
            )


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Read by the task `distillation`."""

    teacher: str | None = None
    """timm/NAME (e.g. timm/caformer_b36.sail_in22k_ft_in1k), or a run folder of ours."""
    checkpoint: Path | None = None
    """Weights file of a timm teacher. None: timm fetches its pretrained weights."""
    kind: Literal["hard", "soft"] = "hard"
    """hard: cross entropy with the teacher's most likely class. soft: divergence from the teacher's distribution."""
    alpha: float = 0.5
    """loss = (1 - alpha) * loss of the labels + alpha * loss of the teacher."""
    tau: float = 1.0
    """Temperature of the soft loss."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"distill.alpha: expected a number from 0 to 1, found {self.alpha}")
        _check_range(self, "distill", ("tau",), above=True)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    out: str | None = None
    """Folder of the run. None: runs/<name of the recipe>."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    batch_size: int = 64
    """Images per process and forward pass."""
    accumulation: int = 1
    """Forward passes per optimiser step."""
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Autocast of convolutions and matrix products; neurons keep their membranes in float32."""
    clip_grad: float | None = None
    """Largest global gradient norm. None: no clipping."""
    ema: float | None = None
    """Decay of the moving average of the weights, which is then what is evaluated. None: no average."""
    ema_warmup: bool = False
    """Let the decay grow from 0 as the run proceeds (timm's rule)."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several processes: ddp keeps all weights and optimiser state at each, fsdp (FSDP2) a share at each."""
    sync_bn: bool = False
    """Batch statistics over all processes (GPUs only)."""
    compile: bool = False
    """torch.compile the model."""
    channels_last: bool = False
    """Keep images and convolution weights with channels last in memory; often faster, the same function."""
    compact: bool = True
    """Keep the spikes that the backward pass needs as bits. The same numbers in less memory; CPUs only."""
    recompute: bool = False
    """Keep only what enters each block and compute the rest again on the way back (activation checkpointing)."""
    seed: int = 42
    """Every random draw is a function of this, the step and the process."""
    eval_epochs: int = 1
    """Evaluate after every so many epochs, and after the last one."""
    checkpoint_epochs: int = 1
    """Write a checkpoint after every so many epochs."""
    checkpoint_steps: int = 0
    """Write a checkpoint after every so many optimiser steps too. 0: not."""
    keep: int = 2
    """How many of the newest checkpoints stay (the best one always does)."""
    log_steps: int = 50
    """Log a line after every so many optimiser steps."""
    tensorboard: bool = False
    """Write TensorBoard files beside the log (pip install 'spikedriven[log]')."""
    max_steps: int = 0
    """Stop after so many optimiser steps, the schedule unchanged. 0: run to the end."""
    timeout_s: float = 1800.0
    """Several processes: seconds that one waits for the others before it gives up. Loading and evaluating may differ
    by less than this between them, and the first one writes its checkpoints in this time."""

    def __post_init__(self) -> None:
        _check_range(self, "run", ("clip_grad",), above=True)
        at_least_one = (
            "batch_size",
            "accumulation",
            "eval_epochs",
            "checkpoint_epochs",
            "keep",
            "log_steps",
        )
        at_least_zero = ("checkpoint_steps", "max_steps", "seed")
        for lowest, names in ((1, at_least_one), (0, at_least_zero)):
            for name in names:
                if getattr(self, name) < lowest:
                    raise RecipeError(
                        f"run.{name}: expected at least {lowest}, found {getattr(self, name)}"
                    )
        if not 0 < self.timeout_s <= LONGEST_TIMEOUT_S:
            raise RecipeError(
                f"run.timeout_s: expected a number from 0 to {LONGEST_TIMEOUT_S}, found {self.timeout_s}"
            )
        if self.parallel == "fsdp" and self.compile:
            raise RecipeError(
                "run.parallel=fsdp: not offered with run.compile; switch one of them off"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise RecipeError(f"run.ema: expected a decay between 0 and 1, found {self.ema}")


Data = TypeVar("Data")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[Data]):
    """Data: DataConfig for image sets, EventDataConfig for event sets; see `spikedriven.data.data_config_type`."""

    description: str = ""
    """One line for `spikedriven train --list`."""
    task: str = "classification"
    """What is trained: a key of spikedriven.tasks.TASKS."""
    model: ModelConfig
    data: Data
    optim: OptimConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.task != "distillation" and self.distill != DistillConfig():
            raise RecipeError(
                f"distill: only the task distillation has a teacher, found task {self.task!r}"
            )
