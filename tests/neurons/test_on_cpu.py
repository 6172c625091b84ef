"""The compiled neurons against the readable ones: spikes and membranes bit for bit, gradients
to float32's rounding.
"""

from itertools import product

import pytest
import torch

from spikedriven.kernels import extension
from spikedriven.neurons import LIFOptions, lif, lif_naive, on_cpu
from spikedriven.neurons.integer import (
    GRADIENTS,
    ROUNDINGS,
    integer_spike,
    integer_spike_naive,
    integer_spike_plain,
)

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)

#: Every option away from its default once, and together.
OPTIONS = [
    LIFOptions(
        tau=tau,
        v_threshold=threshold,
        v_reset=reset,
        decay_input=decay,
        detach_reset=detach,
        surrogate=surrogate,
    )
    for (tau, threshold), reset, decay, detach, surrogate in product(
        [(2.0, 1.0), (1.7, 0.6)],
        [0.0, None, -0.2],
        [True, False],
        [True, False],
        ["sigmoid", "atan"],
    )
]


def inputs(*shape: int, seed: int = 0) -> torch.Tensor:
    """Currents that make neurons fire, rest and touch the threshold exactly."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5 + 0.5
    return torch.where(x.abs() < 0.3, (x * 8).round() / 2, x)


def leaf(x: torch.Tensor) -> torch.Tensor:
    return x.detach().clone().requires_grad_()


@pytest.mark.parametrize("learns", [False, True], ids=["tau", "w"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lif_equals_the_readable_neuron(options, learns):
    check_lif(options, learns, steps=5, starts_charged=True)


@pytest.mark.parametrize("steps", [1, 4, 5, 20])
@pytest.mark.parametrize(
    "options", [LIFOptions(), LIFOptions(v_reset=None), LIFOptions(surrogate="atan")], ids=str
)
def test_lif_from_rest_with_every_instruction_set(options, steps, instruction_set):
    """Four steps of the usual options have a loop of their own."""
    check_lif(options, False, steps, starts_charged=False)


def check_lif(options, learns, steps, starts_charged):
    x, v = inputs(steps, 3, 13), inputs(3, 13, seed=1) * 0.3
    w = torch.tensor(0.3) if learns else None
    results = []
    for function in (lif, lif_naive):
        leaves = [leaf(x), leaf(v) if starts_charged else None, None if w is None else leaf(w)]
        spikes, *_, last = function(*leaves, options)
        loss = (spikes * inputs(*x.shape, seed=2)).sum()
        if starts_charged:
            loss = loss + (last * inputs(*v.shape, seed=3)).sum()
        loss.backward()
        results.append((spikes, last, [t.grad for t in leaves if t is not None]))
    (spikes, last, grads), (expected_spikes, expected_last, expected_grads) = results
    assert 0.05 < spikes.mean() < 0.95
    assert torch.equal(spikes, expected_spikes) and torch.equal(last, expected_last)
    for grad, expected in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, expected, rtol=2e-5, atol=2e-6)


def test_the_compiled_neurons_are_what_the_operators_use(monkeypatch):
    calls = []
    monkeypatch.setattr(
        on_cpu, "lif_forward", lambda x, *_: calls.append("lif") or (x.clone(), x[0].clone())
    )
    monkeypatch.setattr(
        on_cpu, "integer_forward", lambda x, *_: calls.append("integer") or x.clone()
    )
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        lif(torch.ones(1, 2, dtype=dtype))
        integer_spike(torch.ones(2, dtype=dtype), 4, 4.0, "half_even", "strict")
    assert calls == ["lif", "integer"] * 2


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("order", ["contiguous", "channels_last", "expanded", "sliced"])
def test_any_memory_order_and_any_number_of_steps(order, steps):
    x = inputs(steps, 2, 5, 3, 3)
    if order == "channels_last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (steps, 2))
    elif order == "expanded":
        x = x[:1].expand(steps, -1, -1, -1, -1)
    elif order == "sliced":
        x = inputs(steps, 2, 5, 3, 6)[..., ::2]
    ours, theirs = leaf(x), leaf(x.contiguous())
    given = x.detach().requires_grad_()
    upstream = inputs(*x.shape, seed=4)
    for spikes, source in (
        (lif(given)[0], given),
        (lif(ours)[0], ours),
        (lif_naive(theirs)[0], theirs),
    ):
        spikes.backward(upstream)
        assert torch.equal(spikes, lif_naive(x.contiguous())[0])
        torch.testing.assert_close(
            source.grad, theirs.grad if theirs.grad is not None else source.grad
        )
    torch.testing.assert_close(given.grad, theirs.grad, rtol=2e-5, atol=2e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-5, atol=2e-6)


def test_bfloat16_computes_in_float32_and_rounds_once(instruction_set):
    x = inputs(4, 1000).bfloat16()
    ours, theirs = leaf(x), leaf(x)
    upstream = inputs(4, 1000, seed=5).bfloat16()
    spikes, membrane = lif(ours)
    expected, _, last = lif_naive(theirs)
    assert spikes.dtype == torch.bfloat16 and membrane.dtype == torch.float32
    assert torch.equal(spikes, expected) and torch.equal(membrane, last)
    spikes.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(
        ours.grad, theirs.grad, rtol=2**-7, atol=1e-6
    )  # one step of bfloat16, seldom
    assert (ours.grad == theirs.grad).float().mean() > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("levels, norm", [(1, 1.0), (4, 4.0), (8, 1.0), (6, 3.0)])
def test_integer_neuron_equals_the_readable_one(levels, norm, dtype, instruction_set):
    x = torch.cat([torch.arange(-24, 4 * levels + 24) / 8, inputs(1001) * levels]).to(dtype)
    upstream = inputs(*x.shape, seed=6).to(dtype)
    for rounding, gradient in product(ROUNDINGS, GRADIENTS):
        ours, theirs = leaf(x), leaf(x)
        out = integer_spike(ours, levels, norm, rounding, gradient)
        expected = integer_spike_naive(theirs, levels, norm, rounding, gradient)
        assert torch.equal(out, expected) and len(out.unique()) == levels + 1
        out.backward(upstream)
        expected.backward(upstream)
        assert torch.equal(ours.grad, theirs.grad)


def test_nan_is_no_spike_and_stays_nan_in_the_membrane():
    x = torch.full((2, 40), torch.nan)
    spikes, membrane = lif(x)
    assert not spikes.any() and membrane.isnan().all()
    assert integer_spike(x, 4, 4.0, "half_even", "strict").isnan().all()
    assert integer_spike_plain(x, 4, 4.0, "half_even").isnan().all()


def test_the_number_of_threads_changes_nothing():
    x, upstream = inputs(4, 3, 70000), inputs(4, 3, 70000, seed=7)
    w = torch.tensor(0.1)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = leaf(x), None, leaf(w)
            spikes, _ = lif(*leaves)
            spikes.backward(upstream)
            results.append((spikes.detach(), leaves[0].grad, leaves[2].grad))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("order", ["transposed", "sliced", "channels_last"])
def test_results_have_the_memory_order_that_a_compiled_graph_expects(order):
    x = inputs(4, 3, 6, 5, 5)
    if order == "transposed":
        x = inputs(3, 4, 6, 5, 5).transpose(0, 1)  # event frames [B, T, ...]
    elif order == "sliced":
        x = inputs(4, 3, 6, 5, 10)[..., ::2]
    else:
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 3))
    spikes, membrane = lif(x)
    assert (
        spikes.stride() == torch.empty_like(x).stride()
        and membrane.stride() == torch.empty_like(x[0]).stride()
    )
    assert integer_spike(x, 4, 4.0, "half_even", "strict").stride() == torch.empty_like(x).stride()
    assert torch.equal(spikes, lif_naive(x)[0])
