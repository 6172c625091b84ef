"""Learning rate as a pure function of how far the run has come, so that resuming needs no scheduler state."""

import difflib
import math
from typing import Any

import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler

from spikedriven.errors import RecipeError
from spikedriven.training.config import ScheduleConfig

OURS = ("cosine_epoch", "cosine_iter", "onecycle", "constant", "step", "poly")
TIMM = "timm/"
#: Schedulers of timm; the last two came with later versions of it.
TIMMS = (
    "cosine",
    "tanh",
    "step",
    "constant",
    "multistep",
    "poly",
    "plateau",
    "none",
    "wsd",
    "rsqrt",
)
#: What this configuration says in words of its own.
_SAID = (
    "sched", "num_epochs", "cooldown_epochs", "warmup_epochs", "warmup_lr", "min_lr", "decay_milestones", "decay_rate",
    "step_on_epochs", "updates_per_epoch",
)  # fmt: skip


def learning_rate(schedule: ScheduleConfig, peak: float, position: float) -> float:
    """The learning rate at `position` epochs (fractions count) into a run whose largest learning rate is `peak`.

    - cosine_epoch: timm's, as the SDT and Spikingformer releases run it. Constant within an epoch;
    warm-up from `warmup_lr`; the cosine counts from epoch 0, so its peak is not reached when there
    is a warm-up; then `min_lr` for the cooldown. - cosine_iter: that of SDT-V2 and V3. Linear from
    0, then half a cosine over the remaining epochs. - poly: linear from `warmup_lr`, then `min_lr +
    (peak - min_lr) (1 - share)^power` over the remaining epochs. - step: linear from `warmup_lr`,
    then the peak times gamma for each milestone that has passed. - onecycle: cosine from
    `warmup_lr` up to the peak, cosine down to `min_lr`, each step its own value. - timm/NAME: what
    timm's scheduler of that name gives for the epoch. Its multistep falls with the epoch before
    each milestone.
    """
    if is_timm(schedule):
        return _timms(schedule, peak, math.floor(position))
    if schedule.kind == "constant":
        return _warmup(schedule, peak, position) if position < schedule.warmup_epochs else peak
    if schedule.kind == "step":
        steps = sum(position >= milestone for milestone in schedule.milestones)
        rate = peak * schedule.gamma**steps
        return _warmup(schedule, rate, position) if position < schedule.warmup_epochs else rate
    if schedule.kind == "poly":
        return _poly(schedule, peak, position)
    if schedule.kind == "cosine_epoch":
        return _cosine_epoch(schedule, peak, math.floor(position))
    return _cosine_iter(schedule, peak, position)


def is_timm(schedule: ScheduleConfig) -> bool:
    """Whether its kind is a scheduler of timm: timm/NAME, or NAME where none of ours is called
    so."""
    return schedule.kind not in OURS


def check_kind(schedule: ScheduleConfig) -> None:
    """RecipeError for a kind that there is not, for keywords that it does not take, and for what
    could not be resumed."""
    name = schedule.kind.removeprefix(TIMM)
    known = [*OURS, *(f"{TIMM}{name}" for name in TIMMS)]
    if schedule.kind not in OURS and name not in TIMMS:
        close = difflib.get_close_matches(schedule.kind, known, n=3, cutoff=0.4) or known
        raise RecipeError(f"schedule.kind: found {schedule.kind!r}; known: {', '.join(close)}")
    if name == "plateau":
        raise RecipeError(
            "schedule.kind timm/plateau: not offered. Its rate depends on the evaluations so far, and not on the "
            "position alone: a run that is resumed could not repeat it. Use timm/multistep or timm/cosine"
        )
    if not is_timm(schedule):
        if schedule.args:
            raise RecipeError(
                f"schedule.args: only schedules timm/NAME take further keywords, found {schedule.kind}"
            )
        return
    for keyword in _SAID:
        if keyword in schedule.args:
            raise RecipeError(
                f"schedule.args.{keyword}: other fields of schedule say this; leave it out"
            )
    _of_timm(schedule, 1.0)


def epochs_of_timm(schedule: ScheduleConfig) -> int:
    """Epochs of a run with a schedule of timm, the cooldown included."""
    scheduler, _, epochs = _of_timm(schedule, 1.0)
    cyclic = hasattr(scheduler, "get_cycle_length")  # those count the cooldown themselves
    return int(epochs) if cyclic else int(epochs) + schedule.cooldown_epochs


def _timms(schedule: ScheduleConfig, peak: float, epoch: int) -> float:
    scheduler, optimizer, _ = _of_timm(schedule, peak)
    if scheduler is not None:
        scheduler.step(epoch)
    return optimizer.param_groups[0]["lr"]


def _of_timm(
    schedule: ScheduleConfig, peak: float
) -> tuple[Scheduler | None, torch.optim.Optimizer, float]:
    """timm's scheduler of an optimiser with one group, that optimiser, and the number of epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=peak)
    name = schedule.kind.removeprefix(TIMM)
    keywords: dict[str, Any] = {
        "num_epochs": schedule.epochs, "cooldown_epochs": schedule.cooldown_epochs,
        "warmup_epochs": schedule.warmup_epochs, "warmup_lr": schedule.warmup_lr, "min_lr": schedule.min_lr,
        "decay_rate": schedule.power if name == "poly" else schedule.gamma,
        "decay_milestones": list(schedule.milestones),
    }  # fmt: skip
    try:
        scheduler, epochs = create_scheduler_v2(optimizer, sched=name, **keywords, **schedule.args)
    except (TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise RecipeError(
            f"schedule.kind {schedule.kind} with args {schedule.args}: {error}"
        ) from error
    return scheduler, optimizer, epochs


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group `lr` times its own `lr_scale` (layer decay)."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def _cosine_epoch(schedule: ScheduleConfig, peak: float, epoch: int) -> float:
    if epoch < schedule.warmup_epochs:
        return _warmup(schedule, peak, epoch)
    if epoch >= schedule.epochs:
        return schedule.min_lr
    return _cosine(peak, schedule.min_lr, epoch / schedule.epochs)


def _cosine_iter(schedule: ScheduleConfig, peak: float, position: float) -> float:
    warmup = schedule.warmup_epochs
    if position < warmup and schedule.kind == "cosine_iter":
        return peak * position / warmup
    if position < warmup:
        return _cosine(schedule.warmup_lr, peak, position / warmup)
    return _cosine(
        peak, schedule.min_lr, min(1.0, (position - warmup) / (schedule.epochs - warmup))
    )


def _poly(schedule: ScheduleConfig, peak: float, position: float) -> float:
    if position < schedule.warmup_epochs:
        return _warmup(schedule, peak, position)
    share = min(
        1.0, (position - schedule.warmup_epochs) / (schedule.epochs - schedule.warmup_epochs)
    )
    return schedule.min_lr + (peak - schedule.min_lr) * (1 - share) ** schedule.power


def _warmup(schedule: ScheduleConfig, peak: float, position: float) -> float:
    return schedule.warmup_lr + position * (peak - schedule.warmup_lr) / schedule.warmup_epochs


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
