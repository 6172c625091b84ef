"""Networks by name: ours, and timm's."""

import pytest
import torch

from spikedriven.errors import RecipeError
from spikedriven.recipes.types import ModelConfig
from spikedriven.runs.networks import build_network, build_timm
from tests.tasks.toys import DATA


def test_a_timm_network_gets_channels_and_classes() -> None:
    model = build_network(
        ModelConfig(name="timm/test_resnet", num_classes=7, args={"output_stride": 8}), DATA
    )
    assert model.eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 7)
    assert model.forward_features(torch.zeros(2, 1, 16, 16)).shape[-1] == 2


def test_an_unknown_timm_name_lists_close_ones() -> None:
    with pytest.raises(
        RecipeError, match=r"timm has no model 'test_resnit'; did you mean .*test_resnet"
    ):
        build_timm("timm/test_resnit")


def test_a_keyword_that_timm_does_not_take_is_named() -> None:
    with pytest.raises(RecipeError, match=r"timm/test_resnet with depthh=3: .*depthh"):
        build_timm("timm/test_resnet", depthh=3)


def test_timm_networks_have_no_time_steps() -> None:
    with pytest.raises(RecipeError, match="no time steps"):
        build_network(ModelConfig(name="timm/test_resnet", time_steps=4), DATA)
    with pytest.raises(RecipeError, match="no time steps"):
        build_network(ModelConfig(name="timm/test_resnet"), DATA, output="per_step")
