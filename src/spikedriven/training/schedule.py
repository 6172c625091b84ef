"""Learning rate as a pure function of how far the run has come, so that resuming needs no
scheduler state.
"""

import math

import torch

from spikedriven.recipes.schedule import ScheduleConfig, is_timm, scheduler_of_timm


def learning_rate(schedule: ScheduleConfig, peak: float, position: float) -> float:
    """The learning rate at `position` epochs (fractions count) into a run whose largest learning
    rate is `peak`.

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


def _timms(schedule: ScheduleConfig, peak: float, epoch: int) -> float:
    scheduler, optimizer, _ = scheduler_of_timm(schedule, peak)
    if scheduler is not None:
        scheduler.step(epoch)
    return optimizer.param_groups[0]["lr"]


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
