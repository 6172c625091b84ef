"""Learning rates against timm's scheduler and against the SDT-V3 release's own figures."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from timm.scheduler import CosineLRScheduler

from spikedriven.errors import RecipeError
from spikedriven.recipes.schedule import TIMMS
from spikedriven.recipes.types import ScheduleConfig
from spikedriven.training.schedule import learning_rate, set_learning_rate

UNITS = json.loads((Path(__file__).parents[1] / "golden" / "sdtv3_units.json").read_text())


def optimizer(lr: float, scale: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr_scale": scale}], lr=lr
    )


@pytest.mark.parametrize(("warmup", "warmup_lr"), [(20, 1e-5), (10, 1e-3), (0, 0.0)])
def test_cosine_epoch_is_timms(warmup: int, warmup_lr: float) -> None:
    ours = ScheduleConfig(
        epochs=60, cooldown_epochs=10, warmup_epochs=warmup, warmup_lr=warmup_lr, min_lr=1e-5
    )
    reference = optimizer(1.5e-3)
    timms = CosineLRScheduler(
        reference, t_initial=60, lr_min=1e-5, warmup_t=warmup, warmup_lr_init=warmup_lr
    )
    for epoch in range(ours.total_epochs):
        timms.step(epoch)
        expected = reference.param_groups[0]["lr"]
        for within in (0.0, 0.5, 0.999):
            assert learning_rate(ours, 1.5e-3, epoch + within) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("table", UNITS["lr_sched"])
def test_cosine_iter_is_the_v3_releases(table: dict) -> None:
    args = dict(table["args"])
    peak = args.pop("lr")
    schedule = ScheduleConfig(kind="cosine_iter", **args)
    for epoch, scaled, full in table["epoch_lrScale0.75_lr"]:
        lr = learning_rate(schedule, peak, epoch)
        assert lr == pytest.approx(full, rel=1e-12, abs=0)
        groups = optimizer(1.0, scale=0.75)
        set_learning_rate(groups, lr)
        assert groups.param_groups[0]["lr"] == pytest.approx(scaled, rel=1e-12, abs=0)


def test_logged_rate_of_the_spikingformer_run() -> None:
    """Its published log shows 4.946e-4 at epoch 20."""
    schedule = ScheduleConfig(
        epochs=300, cooldown_epochs=10, warmup_epochs=20, warmup_lr=1e-6, min_lr=1e-5
    )
    assert f"{learning_rate(schedule, 5e-4, 20):.3e}" == "4.946e-04"


def test_onecycle_rises_to_the_peak_and_falls_to_the_end() -> None:
    schedule = ScheduleConfig(
        kind="onecycle", epochs=10, warmup_epochs=2, warmup_lr=0.1, min_lr=0.01
    )
    rates = [learning_rate(schedule, 1.0, position / 100) for position in range(1001)]
    assert (rates[0], rates[200]) == (pytest.approx(0.1), pytest.approx(1.0))
    assert rates[1000] == pytest.approx(0.01)
    assert rates[:201] == sorted(rates[:201]) and rates[200:] == sorted(rates[200:], reverse=True)


def test_constant_with_warmup() -> None:
    schedule = ScheduleConfig(kind="constant", epochs=10, warmup_epochs=2)
    assert [learning_rate(schedule, 1.0, position) for position in (0, 1, 2, 9.9)] == [
        0.0,
        0.5,
        1.0,
        1.0,
    ]


def test_poly_is_mmengines_with_a_linear_warm_up() -> None:
    """160,000 steps in 64 epochs of 2,500: warm-up over 1,500 steps from 1e-6 of the peak, then
    straight to 0.
    """
    schedule = ScheduleConfig(kind="poly", epochs=64, warmup_epochs=0.6, warmup_lr=1e-9)
    peak = 1e-3
    for step in (0, 1, 750, 1499):
        expected = peak * (1e-6 + (1 - 1e-6) * step / 1500)
        assert learning_rate(schedule, peak, step / 2500) == pytest.approx(expected, rel=1e-9)
    for step in (1500, 1501, 80_000, 159_999, 160_000):
        expected = peak * (1 - (step - 1500) / (160_000 - 1500))
        assert learning_rate(schedule, peak, step / 2500) == pytest.approx(
            expected, rel=1e-9, abs=1e-15
        )


def test_poly_with_a_power_and_a_floor() -> None:
    schedule = ScheduleConfig(kind="poly", epochs=10, power=0.9, min_lr=1e-4)
    assert learning_rate(schedule, 1e-2, 0.0) == 1e-2
    assert learning_rate(schedule, 1e-2, 5.0) == pytest.approx(1e-4 + 9.9e-3 * 0.5**0.9)
    assert learning_rate(schedule, 1e-2, 10.0) == learning_rate(schedule, 1e-2, 11.0) == 1e-4


def test_steps_of_detection() -> None:
    schedule = ScheduleConfig(
        kind="step", epochs=12, milestones=(8, 11), gamma=0.1, warmup_epochs=0.5, warmup_lr=1e-3
    )
    positions = (0, 0.25, 0.5, 7.99, 8, 10.99, 11, 11.99)
    rates = [learning_rate(schedule, 1.0, position) for position in positions]
    assert rates == pytest.approx([1e-3, 0.5005, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("values", [{"kind": "step"}, {"kind": "constant", "milestones": (3,)},
                                    {"kind": "step", "milestones": (5, 3)}])  # fmt: skip
def test_milestones_go_with_steps(values: dict) -> None:
    with pytest.raises(
        RecipeError, match=r"schedule\.milestones: kind step needs epochs that rise"
    ):
        ScheduleConfig(epochs=12, **values)


# timm's schedulers --------------------------------------------------------------------------------


def rates(schedule: ScheduleConfig, peak: float = 1.0) -> list[float]:
    return [learning_rate(schedule, peak, epoch + 0.5) for epoch in range(schedule.total_epochs)]


def test_timms_step_and_multistep() -> None:
    step = ScheduleConfig(kind="timm/step", epochs=8, gamma=0.5, args={"decay_epochs": 3})
    assert rates(step) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])
    milestones = ScheduleConfig(
        kind="timm/multistep", epochs=6, milestones=(2, 5), warmup_epochs=1, warmup_lr=0.2
    )
    expected = [0.2, 0.2, 0.2, 0.2, 0.02, 0.02]  # timm's falls with the epoch before each milestone
    assert rates(milestones, 2.0) == pytest.approx(expected)


def test_timms_poly_and_tanh() -> None:
    poly = ScheduleConfig(kind="timm/poly", epochs=4, cooldown_epochs=2, power=2, min_lr=0.1)
    assert rates(poly) == pytest.approx(
        [0.1 + 0.9 * (1 - e / 4) ** 2 for e in range(4)] + [0.1, 0.1]
    )
    tanh = ScheduleConfig(kind="tanh", epochs=5, min_lr=0.2)
    expected = [0.2 + 0.5 * 0.8 * (1 - math.tanh(-7 * (1 - e / 5) + 3 * e / 5)) for e in range(5)]
    assert rates(tanh) == pytest.approx(expected)


def test_timms_cosine_is_cosine_epoch_and_has_cycles() -> None:
    common = {
        "epochs": 10,
        "cooldown_epochs": 3,
        "warmup_epochs": 2,
        "warmup_lr": 0.1,
        "min_lr": 0.01,
    }
    assert rates(ScheduleConfig(kind="timm/cosine", **common)) == pytest.approx(
        rates(ScheduleConfig(**common))
    )
    cycles = ScheduleConfig(
        kind="cosine", epochs=4, cooldown_epochs=1, args={"cycle_limit": 2, "cycle_decay": 0.5}
    )
    assert cycles.total_epochs == 9
    assert [rates(cycles)[epoch] for epoch in (0, 2, 4, 6, 8)] == pytest.approx(
        [1, 0.5, 0.5, 0.25, 0]
    )
    prefix = ScheduleConfig(
        kind="timm/step", epochs=4, warmup_epochs=2, args={"warmup_prefix": True, "decay_epochs": 2}
    )
    assert rates(prefix) == pytest.approx([0, 0.5, 1, 1, 0.1, 0.1])


@pytest.mark.parametrize("name", TIMMS)
def test_every_name_of_timm_is_taken_or_refused_with_a_reason(name: str) -> None:
    milestones = (5,) if name == "multistep" else ()
    if name == "plateau":
        with pytest.raises(
            RecipeError, match=r"timm/plateau: not offered.*resumed could not repeat"
        ):
            ScheduleConfig(kind="timm/plateau", epochs=10)
        return
    try:
        schedule = ScheduleConfig(
            kind=f"timm/{name}", epochs=10, warmup_epochs=2, milestones=milestones
        )
    except RecipeError as error:
        assert name in ("wsd", "rsqrt", "constant") and "Unknown scheduler" in str(error), (
            "an older timm"
        )
        return
    assert schedule.total_epochs == 10
    assert max(rates(schedule, 0.5)) <= 0.5 and rates(schedule, 0.5)[3] > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "cosin"}, "schedule.kind: found 'cosin'; did you mean timm/cosine"),
        ({"kind": "timm/linear"}, "schedule.kind: found 'timm/linear'; did you mean timm/cosine"),
        (
            {"kind": "constant", "args": {"k_decay": 2}},
            "only schedules timm/NAME take further keywords",
        ),
        (
            {"kind": "timm/cosine", "args": {"min_lr": 2}},
            "schedule.args.min_lr: other fields of schedule say this",
        ),
        ({"kind": "timm/cosine", "args": {"cycles": 2}}, "unexpected keyword argument 'cycles'"),
    ],
)
def test_schedules_that_are_refused(values: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        ScheduleConfig(epochs=12, **values)
