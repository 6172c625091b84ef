"""Thinned networks with realistic firing rates, and their plans."""

from functools import cache

import torch
from torch import Tensor, nn

from spikedriven.engine.lower import lower
from spikedriven.engine.program import Plan
from spikedriven.graph.calibrate import calibrate
from spikedriven.kernels.spec import IntegerSpec, LIFSpec
from tests.networks import live_input, live_model, shrunk

LIF_SPEC = LIFSpec(2.0, 1.0, 0.0, True, True, False)


@cache
def thin(name: str) -> tuple[nn.Module, Tensor]:
    """A registered network without its width, in float32, and a batch of 3 that sets its batch
    norms.
    """
    torch.manual_seed(0)
    model = live_model(name, **shrunk(name))
    if getattr(model, "graph_method", "forward") == "encode_image":
        model = live_model(name, **shrunk(name), img_size=64)
        batch = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    else:
        batch = live_input(model, 3)
    calibrate(model.eval(), batch)
    return model.float(), batch.float()


@cache
def thin_plan(name: str) -> Plan:
    model, batch = thin(name)
    return lower(model, (batch,)).plan()


def integer_spec(levels: int = 4, half_up: bool = False) -> IntegerSpec:
    return IntegerSpec(levels, half_up)
