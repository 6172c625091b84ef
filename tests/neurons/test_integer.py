"""The integer (SFA) neuron against the figures of the three releases, and the operator against the readable version."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikedriven.errors import InputError
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.integer import integer_spike, integer_spike_backward, integer_spike_naive

UNITS = json.loads((Path(__file__).parents[1] / "golden" / "sdtv3_units.json").read_text())
BASE = {"rounding": "half_even", "gradient": "inclusive"}
LARGE = {"rounding": "half_up", "gradient": "strict"}
RELEASED = {
    "MultiSpike_base_norm4": {"norm": 4.0, **BASE},
    "MultiSpike_base_norm1": {"norm": 1.0, **BASE},
    "Multispike_large_norm4": {"norm": 4.0, **LARGE},
    "Multispike_large_norm1": {"norm": 1.0, **LARGE},
    "Q_IFNode_hardvs": {"norm": 1.0, **BASE},
}


@pytest.mark.parametrize("function", [integer_spike, integer_spike_naive])
@pytest.mark.parametrize("name", RELEASED)
def test_equals_the_release(name, function):
    x = torch.tensor(UNITS["sfa_grid"], dtype=torch.float64, requires_grad=True)
    out = function(x, 4, *RELEASED[name].values())
    out.backward(torch.arange(1, x.numel() + 1, dtype=torch.float64))
    assert out.tolist() == UNITS[name]["out"]
    assert x.grad.tolist() == UNITS[name]["grad_with_upstream_1..n"]


@settings(max_examples=60, deadline=None)
@given(
    levels=st.integers(1, 8),
    norm=st.sampled_from([1.0, 4.0, 8.0]),
    rounding=st.sampled_from(["half_even", "half_up"]),
    gradient=st.sampled_from(["inclusive", "strict"]),
    quarters=st.lists(st.integers(-8, 48), min_size=1, max_size=20),
)
def test_operator_equals_naive(levels, norm, rounding, gradient, quarters):
    values = torch.tensor(quarters, dtype=torch.float64) / 4
    results = []
    for function in (integer_spike, integer_spike_naive):
        x = values.clone().requires_grad_()
        out = function(x, levels, norm, rounding, gradient)
        out.backward(values + 1)
        results.append((out.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


# The checker itself reads .grad of inner tensors while it compares.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("convention", [BASE, LARGE], ids=["base", "large"])
def test_opcheck(convention):
    torch.library.opcheck(
        integer_spike, (torch.randn(3, 5, requires_grad=True), 4, 4.0, *convention.values())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "readable"])
def test_the_gradient_has_the_memory_order_of_the_input_whatever_comes_in(dtype):
    """torch.compile plans with the order that the operator's description promises."""
    x = torch.randn(2, 3, 4, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
    args = (torch.randn(2, 3, 4, 5, dtype=dtype), x, 4, 4.0, "strict")
    grad = integer_spike_backward(*args)
    described = integer_spike_backward(
        *(t.to("meta") if isinstance(t, torch.Tensor) else t for t in args)
    )
    assert grad.stride() == described.stride() == x.stride() != args[0].stride()
    torch.library.opcheck(
        integer_spike_backward, args, test_utils=("test_faketensor", "test_schema")
    )


def test_export_keeps_one_node():
    program = torch.export.export(torch.nn.Sequential(IntegerNeuron()), (torch.randn(3, 4),))
    assert [n.target for n in program.graph.nodes].count(
        torch.ops.spikedriven.integer_spike.default
    ) == 1


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"levels": 2.5}, {"norm": 0}, {"rounding": "up"}, {"gradient": "x"}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        IntegerNeuron(**wrong)
