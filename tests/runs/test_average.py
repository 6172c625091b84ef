"""The share of the first weights in the average is timm's own, and an early average is told."""

import dataclasses

import pytest
from timm.utils import ModelEmaV3
from torch import nn

from spikedriven.recipes.types import ModelConfig, RunConfig
from spikedriven.runs.average import early_average, start_share
from tests.training.toys import toy_recipe


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("decay", [0.9, 0.9999])
def test_the_share_is_what_timm_leaves(decay: float, warmup: bool) -> None:
    """Weights that are 1 in the first step and 0 after it: the average is the share itself."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    average = ModelEmaV3(net, decay=decay, use_warmup=warmup)
    for step in range(1, 60):
        average.update(net, step=step)
        nn.init.zeros_(net.weight)
        assert start_share(decay, warmup, step) == pytest.approx(
            float(average.module.weight.detach()), rel=1e-9
        )


def test_an_early_average_is_told_and_a_late_one_is_not() -> None:
    recipe = toy_recipe({"ema": 0.999})
    assert "after 100 steps of run.ema 0.999 they are still 91% the random ones" in early_average(
        recipe, 100
    )
    assert early_average(recipe, 5000) == "" and early_average(toy_recipe(), 1) == ""
    warm = dataclasses.replace(recipe, run=RunConfig(ema=0.999, ema_warmup=True))
    assert early_average(warm, 100) == ""
    begun = dataclasses.replace(recipe, model=ModelConfig(name="toy", init="weights.safetensors"))
    assert early_average(begun, 1) == "", "where it begins is no random place"
