"""What every registered neuron promises: its readable version, streams, factors, constants,
expansion.
"""

import pytest
import torch

from spikedriven.errors import InputError
from spikedriven.neurons import (
    IF,
    AdaptiveLIF,
    IntegerNeuron,
    Neuron,
    StreamState,
    ThresholdLIF,
    lif_naive,
    list_neurons,
    neuron_factory,
    open_stream,
)
from spikedriven.neurons.watch import counts, share_of

STEPS = 6
BUILDS = {
    **{name: neuron_factory(name) for name in list_neurons()},
    "if, soft": lambda: IF(v_threshold=0.8, v_reset=None, detach_reset=False, surrogate="atan"),
    "threshold, soft": lambda: ThresholdLIF(1.5, 0.6, None, surrogate="triangle"),
    "adaptive, soft": lambda: AdaptiveLIF(1.5, 0.5, 0.4, 3.0, soft_reset=True),
    "integer, half up": lambda: IntegerNeuron(5, 2.0, "half_up", "strict", threshold=0.7),
}


@pytest.fixture(params=BUILDS)
def neuron(request) -> Neuron:
    return BUILDS[request.param]()


def current(dtype=torch.float64, *shape: int) -> torch.Tensor:
    """Enough for every neuron to fire, at different steps."""
    noise = torch.randn(STEPS, *(shape or (3, 7)), generator=torch.Generator().manual_seed(0))
    return (noise + 0.8).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["readable", "compiled"])
def test_it_computes_and_learns_as_its_readable_version(neuron, dtype):
    neuron = neuron.to(dtype)
    upstream = current(dtype).flip(0)
    results = []
    for forward in (neuron, neuron.readable):
        x = current(dtype).requires_grad_()
        spikes = forward(x)
        learnt = [x, *neuron.parameters()]
        results.append((spikes, torch.autograd.grad(spikes, learnt, upstream)))
    (spikes, grads), (expected, expected_grads) = results
    assert torch.equal(spikes, expected) and 0.05 < share_of(neuron, spikes.mean().item()) < 0.95
    for found, truth in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-6)
        assert truth.abs().max() > 0


def test_it_puts_out_counts_of_its_unit(neuron):
    found = counts(neuron, neuron(current()))
    assert torch.equal(found, found.round()) and 0 <= found.min() < found.max() <= neuron.levels
    assert set(neuron(current(torch.float32)).unique().tolist()) <= set(
        neuron.values(torch.float32).tolist()
    )


def test_a_stream_gives_what_all_steps_give(neuron):
    """One step at a time, with the state handed on as a value; nothing stays behind in the
    neuron.
    """
    model = torch.nn.Sequential(neuron).double()
    x, state, spikes = current(), {}, []
    for t in range(STEPS):
        with open_stream(model, StreamState(state)) as state:
            spikes.append(model(x[t : t + 1]))
    assert torch.equal(torch.cat(spikes), model(x))
    assert torch.equal(model(x), model(x)) and neuron.membrane is None


def test_a_factor_is_taken_over(neuron):
    """A factor of two moves no rounding, so spikes are equal; what it learns for 4 x is a
    quarter of it.
    """
    neuron = neuron.double()
    inputs = [current().requires_grad_(), (4.0 * current()).requires_grad_()]
    before = neuron(inputs[0])
    before.sum().backward()
    neuron.rescale(4.0)
    after = neuron(inputs[1])
    after.sum().backward()
    assert torch.equal(before, after)
    torch.testing.assert_close(inputs[1].grad * 4.0, inputs[0].grad, rtol=1e-9, atol=1e-12)


def test_its_expansion_is_binary_and_sums_to_its_counts(neuron):
    x = current()
    spikes = neuron.expanded()(x)
    assert neuron.expanded().levels == 1 and set(spikes.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(
        spikes.unflatten(0, (STEPS, neuron.levels)).sum(1), counts(neuron, neuron(x))
    )


def test_if_adds_up_its_input():
    x = torch.tensor([0.5, 0.25, 0.25, 0.75, 0.5]).view(-1, 1)
    assert IF()(x).flatten().tolist() == [0, 0, 1, 0, 1]  # 0.5 0.75 1 | 0.75 1.25 |
    assert IF(v_reset=None)(x).flatten().tolist() == [0, 0, 1, 0, 1]
    assert IF()(x.double() * 0.7).flatten().tolist() == [
        0,
        0,
        0,
        1,
        0,
    ]  # 0.35 0.525 0.7 1.225 | 0.35
    spec = IF().spec()
    assert (spec.leak, spec.parametric, spec.decay_input) == (
        0.0,
        True,
        False,
    )  # what is leaked is 0 times V


def test_a_learnt_threshold_is_that_of_a_lif_neuron_on_the_undivided_input():
    """With a power of two the division moves no rounding: spikes of both are equal."""
    neuron, x = ThresholdLIF(2.0, 0.5).double(), current()
    options = neuron_factory("lif", v_threshold=0.5)().options
    assert torch.equal(neuron(x), lif_naive(x, options=options)[0])
    assert neuron.spec().threshold == 0.5 and neuron.threshold().item() == pytest.approx(0.5)


def test_a_learnt_threshold_falls_where_more_spikes_are_wanted():
    neuron, x = ThresholdLIF(2.0, 3.0), current(torch.float32, 16, 16)
    optimiser, first = torch.optim.SGD(neuron.parameters(), lr=0.2), neuron(x).mean().item()
    for _ in range(60):
        optimiser.zero_grad()
        (neuron(x).mean() - 0.4).square().backward()
        optimiser.step()
    assert neuron.threshold().item() < 3.0 and neuron(x).mean().item() > first + 0.04


def test_an_adaptive_threshold_rises_with_each_spike_and_decays():
    """By hand: rho = 1/2, beta = 2, so a spike raises the threshold by 1, and this halves at
    each step.
    """
    half = -1.0 / torch.log(torch.tensor(0.5, dtype=torch.float64)).item()
    neuron = AdaptiveLIF(tau=1.0, v_threshold=1.0, beta=2.0, tau_adaptation=half)
    x = torch.tensor([1.0, 1.9, 1.5, 1.2, 2.0], dtype=torch.float64).view(-1, 1)
    # thresholds 1, 2, 1.5 (a tie of rounding is avoided: 1.5 + 1e-16 or less), 1.25 or 2.25, ...
    fired, a, expected = [], 0.0, []
    for value in x.flatten().tolist():
        expected.append(float(value >= 1.0 + 2.0 * a))
        a = 0.5 * a + 0.5 * expected[-1]
    fired = neuron(x + 1e-9).flatten().tolist()
    assert fired == expected == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert AdaptiveLIF(1.0, beta=0.0)(x).flatten().tolist() == [1.0] * 5


def test_the_stream_of_an_adaptive_neuron_holds_two_values():
    model = torch.nn.Sequential(torch.nn.Identity(), AdaptiveLIF())
    with open_stream(model, StreamState()) as state:
        model(current()[:1])
    assert set(state) == {"1", "1.adaptation"} and state["1.adaptation"].max() > 0
    with open_stream(model, StreamState(state)) as after:
        model(torch.zeros(1, 3, 7, dtype=torch.float64))
    torch.testing.assert_close(after["1.adaptation"], state["1.adaptation"] * 0.951229424500714)
    with (
        pytest.raises(InputError, match=r"no neuron '1\.trace'"),
        open_stream(model, StreamState({"1.trace": current()})),
    ):
        pass


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ThresholdLIF(v_reset=-0.5), "resets to 0"),
        (lambda: ThresholdLIF(v_threshold=0.0, v_reset=None), "starts positive"),
        (lambda: AdaptiveLIF(beta=-1.0), "beta must not be negative"),
        (lambda: AdaptiveLIF(tau_adaptation=0.0), "tau_adaptation must be positive"),
        (lambda: Neuron().rescale(2.0), "cannot take over a factor"),
        (lambda: Neuron().keep(trace=current()), "not among its state_names"),
        (lambda: type("Two", (Neuron,), {"levels": 2})().expanded(), "has no expansion"),
    ],
)
def test_wrong_use_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()
