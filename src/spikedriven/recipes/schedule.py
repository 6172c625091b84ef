"""The section `schedule` of a recipe: how the learning rate runs, by schedules of ours or of
timm.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.errors import RecipeError, did_you_mean

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
#: Far more than any run has; some schedules work through them one by one.
MOST_EPOCHS = 1_000_000
#: What this configuration says in words of its own.
_SAID = (
    "sched",
    "num_epochs",
    "cooldown_epochs",
    "warmup_epochs",
    "warmup_lr",
    "min_lr",
    "decay_milestones",
    "decay_rate",
    "step_on_epochs",
    "updates_per_epoch",
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
        rates = dict.fromkeys(("warmup_lr", "min_lr", "gamma", "power"), "[0, inf)")
        check_numbers(self, rates, "schedule")
        check_whole(self, {"epochs": 1, "cooldown_epochs": 0}, "schedule")
        if max(self.epochs, self.cooldown_epochs) > MOST_EPOCHS:
            refuse(
                "schedule.epochs",
                (self.epochs, self.cooldown_epochs),
                f"with the cooldown at most {MOST_EPOCHS}",
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            below = f"at least 0 and less than epochs={self.epochs}"
            refuse("schedule.warmup_epochs", self.warmup_epochs, below)
        stepwise = self.kind in ("step", "multistep", "timm/multistep")
        if list(self.milestones) != sorted(set(self.milestones)) or stepwise != bool(
            self.milestones
        ):
            raise RecipeError(
                "schedule.milestones: kind step needs epochs that rise, and so does "
                "timm/multistep, other kinds "
                f"none; found kind {self.kind} with {self.milestones}"
            )
        check_kind(self)

    @property
    def total_epochs(self) -> int:
        """Epochs of the run; timm's schedules may have more than `epochs` (several cycles, a
        warm-up in front)."""
        return epochs_of_timm(self) if is_timm(self) else self.epochs + self.cooldown_epochs


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
        raise RecipeError(
            f"schedule.kind: found {schedule.kind!r}; {did_you_mean(schedule.kind, known)}"
        )
    if name == "plateau":
        raise RecipeError(
            "schedule.kind timm/plateau: not offered. Its rate depends on the evaluations so far, "
            "and not on the "
            "position alone: a run that is resumed could not repeat it. Use timm/multistep or "
            "timm/cosine"
        )
    if not is_timm(schedule):
        if schedule.args:
            raise RecipeError(
                "schedule.args: only schedules timm/NAME take further keywords, found "
                f"{schedule.kind}"
            )
        return
    for keyword in _SAID:
        if keyword in schedule.args:
            raise RecipeError(
                f"schedule.args.{keyword}: other fields of schedule say this; leave it out"
            )
    scheduler_of_timm(schedule, 1.0)


def epochs_of_timm(schedule: ScheduleConfig) -> int:
    """Epochs of a run with a schedule of timm, the cooldown included."""
    scheduler, _, epochs = scheduler_of_timm(schedule, 1.0)
    cyclic = hasattr(scheduler, "get_cycle_length")  # those count the cooldown themselves
    return int(epochs) if cyclic else int(epochs) + schedule.cooldown_epochs


def scheduler_of_timm(
    schedule: ScheduleConfig, peak: float
) -> tuple[Scheduler | None, torch.optim.Optimizer, float]:
    """timm's scheduler of an optimiser with one group, that optimiser, and the number of epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=peak)
    name = schedule.kind.removeprefix(TIMM)
    keywords: dict[str, Any] = {
        "num_epochs": schedule.epochs,
        "cooldown_epochs": schedule.cooldown_epochs,
        "warmup_epochs": schedule.warmup_epochs,
        "warmup_lr": schedule.warmup_lr,
        "min_lr": schedule.min_lr,
        "decay_rate": schedule.power if name == "poly" else schedule.gamma,
        "decay_milestones": list(schedule.milestones),
    }
    try:
        scheduler, epochs = create_scheduler_v2(optimizer, sched=name, **keywords, **schedule.args)
    except (TypeError, ValueError, AssertionError, ArithmeticError) as error:
        raise RecipeError(
            f"schedule.kind {schedule.kind} with args {schedule.args}: {error}"
        ) from error
    return scheduler, optimizer, epochs
