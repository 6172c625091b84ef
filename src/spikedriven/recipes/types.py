"""The recipe: everything that decides what a training run computes, as nested frozen dataclasses.

A recipe is read from YAML (`reading`), changed on the command line (`--optim.lr 1e-3`) and written,
complete, into the run's folder. Field comments below are the help texts of the command line.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.errors import RecipeError
from spikedriven.recipes.optim import OptimConfig
from spikedriven.recipes.schedule import ScheduleConfig
from spikedriven.recipes.unread import check_all_read

#: Tasks whose networks can be quantized while they are trained.
QUANTIZED_TASKS = ("classification", "distillation")
#: A month, seconds.
LONGEST_TIMEOUT_S = 31 * 24 * 3600


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
    """Starting weights: a run folder, RUN/best, a checkpoint folder, a weights file (ours or the
    authors'), a name whose weights ship (e_spikeformer_fashion), or NAME.TAG that was fetched."""
    init_strict: bool = True
    """Every weight must come from `init`. False: take what fits, report the rest."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained, by names with wildcards: stem, blocks.*. One with ! before it
    takes back: "*" "!head" trains the head alone. Batch norms of frozen parts keep their
    statistics."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    kind: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """Label smoothing and mixing are part of the targets, hence of `data`."""
    bce_target_thresh: float | None = None
    """binary_cross_entropy: targets above this become 1, all others 0."""
    tet: bool = False
    """Temporal efficient training: the loss of each time step's logits, averaged, instead of the
    loss of their average.
    """
    tet_lamb: float = 1e-3
    """Weight of the term that pulls all logits towards tet_means."""
    tet_means: float = 1.0
    """See tet_lamb."""
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    """A factor for the loss of each class (segmentation: of its pixels). balanced, in
    classification: N / (K n) for a class with n of the N train samples of K classes."""

    def __post_init__(self) -> None:
        check_numbers(self, {"tet_lamb": "[0, 1]"}, "loss")
        numbers = () if self.class_weights in (None, "balanced") else self.class_weights
        if not all(
            isinstance(weight, int | float) and 0 <= weight < math.inf for weight in numbers
        ):
            refuse("loss.class_weights", self.class_weights, "numbers of at least 0")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Read by the task `distillation`."""

    teacher: str | None = None
    """timm/NAME (e.g. timm/caformer_b36.sail_in22k_ft_in1k), or a run folder of ours."""
    checkpoint: Path | None = None
    """Weights file of a timm teacher. None: timm fetches its pretrained weights."""
    kind: Literal["hard", "soft"] = "hard"
    """hard: cross entropy with the teacher's most likely class. soft: divergence from the
    teacher's distribution.
    """
    alpha: float = 0.5
    """loss = (1 - alpha) * loss of the labels + alpha * loss of the teacher."""
    tau: float = 1.0
    """Temperature of the soft loss."""

    def __post_init__(self) -> None:
        check_numbers(self, {"alpha": "[0, 1]", "tau": "(0, inf)"}, "distill")


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
    amp: Literal["none", "bf16", "fp16", "auto"] = "none"
    """Autocast of convolutions and matrix products; neurons keep their membranes in float32. auto:
    what this machine is fast with, measured when the run begins and kept by it.
    """
    clip_grad: float | None = None
    """Largest global gradient norm. None: no clipping."""
    ema: float | None = None
    """Decay of the moving average of the weights, which is then what is evaluated. None: no
    average.
    """
    ema_warmup: bool = False
    """Let the decay grow from 0 as the run proceeds (timm's rule)."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several processes: ddp keeps all weights and optimiser state at each, fsdp (FSDP2) a
    share at each.
    """
    sync_bn: bool = False
    """Batch statistics over all processes (GPUs only)."""
    compile: bool = False
    """torch.compile the model."""
    channels_last: bool = False
    """Keep images and convolution weights with channels last in memory; often faster, the same
    function.
    """
    compact: bool = True
    """Keep the spikes that the backward pass needs as bits. The same numbers in less memory;
    CPUs only.
    """
    recompute: bool = False
    """Keep only what enters each block and compute the rest again on the way back (activation
    checkpointing).
    """
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
    """Several processes: seconds that one waits for the others before it gives up. Loading and
    evaluating may differ by less than this between them, and the first one writes its checkpoints
    in this time.
    """

    def __post_init__(self) -> None:
        counts = (
            "batch_size",
            "accumulation",
            "eval_epochs",
            "checkpoint_epochs",
            "keep",
            "log_steps",
        )
        check_whole(self, dict.fromkeys(counts, 1), "run")
        check_whole(self, dict.fromkeys(("checkpoint_steps", "max_steps", "seed"), 0), "run")
        longest = f"(0, {LONGEST_TIMEOUT_S}]"
        check_numbers(self, {"clip_grad": "(0, inf)", "timeout_s": longest, "ema": "(0, 1)"}, "run")
        if self.parallel == "fsdp" and self.compile:
            raise RecipeError(
                "run.parallel=fsdp: not offered with run.compile; leave one of the two out"
            )


@dataclass(frozen=True, kw_only=True)
class QuantConfig:
    bits: int | None = None
    """Train weights as integers of so many bits, 2 to 8, from the weights of `model.init`. Layers
    that read the input and classifiers keep 8. None: real weights.
    """
    layers: dict[str, int] = field(default_factory=dict)
    """Bits of some layers, by patterns of their names: --quant.layers.head 8,
    --quant.layers.blocks.* 3.
    """
    ranges: Literal["mse", "max"] = "mse"
    """Where the steps of weights begin: least squared error on calibration images, or the
    largest value.
    """
    learn_steps: bool = True
    """Steps are learnt too. False: they stay where they begin."""
    power_of_two: bool = False
    """Steps are powers of two; they are not learnt then."""
    images: int = 256
    """Calibration images, from the train split, prepared as for evaluation."""

    def __post_init__(self) -> None:
        for bits in (*self.layers.values(), *([] if self.bits is None else [self.bits])):
            if not 2 <= bits <= 8:
                raise RecipeError(f"quant: weights have 2 to 8 bits, found {bits}")
        check_whole(self, {"images": 1}, "quant")
        if self.layers and self.bits is None:
            raise RecipeError("quant.layers: say how many bits all other layers have, quant.bits")
        if self.power_of_two and self.learn_steps:
            raise RecipeError(
                "quant.power_of_two: such steps are not learnt; set quant.learn_steps false"
            )

    @property
    def weight_bits(self) -> int | dict[str, int]:
        """As `graph.quantize` takes it."""
        assert self.bits is not None
        return self.bits if not self.layers else {**self.layers, "*": self.bits}


Data = TypeVar("Data")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[Data]):
    """Data: DataConfig for image sets, EventDataConfig for event sets; see
    `spikedriven.data.data_config_type`.
    """

    description: str = ""
    """One line for `spikedriven train --list`."""
    plugins: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """Modules that register what the recipe names (spikedriven.plugins). Reading imports none: who
    reads is told which are missing. `train` adds those of --plugin."""
    task: str = "classification"
    """What is trained: a key of spikedriven.tasks.TASKS."""
    model: ModelConfig
    data: Data
    optim: OptimConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.task != "distillation" and self.distill != DistillConfig():
            raise RecipeError(
                f"distill: only the task distillation has a teacher, found task {self.task!r}"
            )
        if self.quant.bits is not None and self.task not in QUANTIZED_TASKS:
            raise RecipeError(
                f"quant: for the tasks {' and '.join(QUANTIZED_TASKS)}, found task {self.task!r}"
            )
        if self.quant.bits is not None and not self.model.init:
            raise RecipeError("quant: it goes on from trained weights; name them in model.init")
        check_all_read(self)
