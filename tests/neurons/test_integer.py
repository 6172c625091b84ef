"""The integer (SFA) neuron against the figures of the three releases, and the operator against
the readable version.
"""

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
    threshold=st.sampled_from([1.0, 2.0, 0.7]),
    quarters=st.lists(st.integers(-8, 48), min_size=1, max_size=20),
)
def test_operator_equals_naive(levels, norm, rounding, gradient, threshold, quarters):
    values = torch.tensor(quarters, dtype=torch.float64) / 4
    results = []
    for function in (integer_spike, integer_spike_naive):
        x = values.clone().requires_grad_()
        out = function(x, levels, norm, rounding, gradient, threshold)
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
    "wrong",
    [
        {"levels": 0},
        {"levels": 2.5},
        {"norm": 0},
        {"rounding": "up"},
        {"gradient": "x"},
        {"threshold": 0.0},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        IntegerNeuron(**wrong)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.integers(1, 8),
    rounding=st.sampled_from(["half_even", "half_up"]),
    threshold=st.sampled_from([1.0, 0.5, 0.7, 1 / 3, 12.0]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    eighths=st.lists(st.integers(-8, 80), min_size=1, max_size=20),
)
def test_binary_steps_sum_to_the_count(levels, rounding, threshold, dtype, eighths):
    """Bit for bit, at ties and one bit beside them."""
    x = torch.tensor([eighths]).to(dtype) / 8 * threshold
    x = torch.cat([x, torch.nextafter(x, x + 1), torch.nextafter(x, x - 1)], dim=1)
    neuron = IntegerNeuron(levels, rounding=rounding, threshold=threshold)
    steps = neuron.expanded()(x)
    assert steps.shape == (levels, x.shape[1]) and set(steps.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(steps.sum(0), (neuron(x)[0] * neuron.norm).round())


@pytest.mark.parametrize("convention", [BASE, LARGE], ids=["base", "large"])
def test_a_factor_is_taken_over(convention):
    """Factors of two keep every tie; the slope is that of a neuron behind a layer that divides."""
    x = torch.linspace(-2, 7, 145, dtype=torch.float64)
    plain, moved = IntegerNeuron(4, **convention), IntegerNeuron(4, **convention)
    moved.rescale(4.0)
    inputs = [x.clone().requires_grad_(), (4.0 * x).requires_grad_()]
    outputs = [neuron(value) for neuron, value in zip((plain, moved), inputs, strict=True)]
    torch.stack(outputs).sum().backward()
    assert torch.equal(*outputs) and torch.equal(inputs[0].grad, 4.0 * inputs[1].grad)
    assert (moved.spec().threshold, plain.spec().threshold) == (4.0, 1.0)
    assert (
        not plain.state_dict() and "threshold" not in repr(plain) and "threshold=4" in repr(moved)
    )


def test_a_moved_threshold_needs_no_kernel_of_its_own():
    """The compiled kernel knows a threshold of 1 alone; float32 with another one equals the
    readable neuron.
    """
    x = (torch.randn(2, 3, 8, 8) * 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    args = (4, 4.0, "half_even", "inclusive", 0.7)
    found, expected = integer_spike(x, *args), integer_spike_naive(x, *args)
    grads = [torch.autograd.grad(out, x, torch.ones_like(out) * 3)[0] for out in (found, expected)]
    assert torch.equal(found, expected) and torch.equal(*grads)
