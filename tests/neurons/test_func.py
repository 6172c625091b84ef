"""Neurons under torch.func and in forward mode: tangents agree with gradients, maps with loops."""

import pytest
import torch
from torch.autograd import forward_ad

from spikedriven.errors import InputError
from spikedriven.neurons import LIF, ExpandedNeuron, IntegerNeuron, Neuron, ParametricLIF
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.lif import lif

#: PyTorch loads its own formulas for tangents with what it calls deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning"
)

NEURONS = {
    "lif": LIF(),
    "soft reset, not detached": LIF(v_reset=None, detach_reset=False, surrogate="atan"),
    "hard reset, not detached": LIF(v_reset=-0.3, detach_reset=False, decay_input=False, tau=1.5),
    "parametric": ParametricLIF(tau=1.7),
    "integer": IntegerNeuron(levels=4),
    "integer, strict, with a threshold": IntegerNeuron(
        levels=8, gradient="strict", rounding="half_up", threshold=0.7
    ),
}


def current(*shape: int) -> torch.Tensor:
    return 1.5 * torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(params=NEURONS)
def neuron(request) -> Neuron:
    return NEURONS[request.param].double()


def test_a_tangent_is_the_transpose_of_the_gradient(neuron: Neuron):
    x, tangent, upstream = current(4, 2, 7), current(4, 2, 7), current(4, 2, 7)
    spikes, forward = torch.func.jvp(neuron, (x,), (tangent,))
    assert torch.equal(spikes, neuron(x))
    (gradient,) = torch.autograd.grad(neuron(x.requires_grad_()), x, upstream)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(
        (upstream * forward).sum(), (gradient * tangent).sum(), rtol=1e-12, atol=1e-12
    )


def test_membrane_and_time_constant_have_tangents_too():
    options = LIFOptions(detach_reset=False)
    at = (current(3, 5), current(5), torch.tensor(0.3, dtype=torch.float64))
    tangents = tuple(torch.randn_like(x) for x in at)
    inputs = [x.clone().requires_grad_() for x in at]
    outputs = lif(*inputs, options)
    upstream = [torch.randn_like(out) for out in outputs]
    gradients = torch.autograd.grad(outputs, inputs, upstream)
    _, forward = torch.func.jvp(lambda x, v, w: lif(x, v, w, options), at, tangents)
    backward = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
    torch.testing.assert_close(
        sum((u * f).sum() for u, f in zip(upstream, forward, strict=True)), backward
    )
    with forward_ad.dual_level():  # the same without torch.func
        duals = [forward_ad.make_dual(x, t) for x, t in zip(at, tangents, strict=True)]
        found = [forward_ad.unpack_dual(out).tangent for out in lif(*duals, options)]
    assert all(torch.equal(f, expected) for f, expected in zip(found, forward, strict=True))


def test_a_map_over_samples_is_the_loop(neuron: Neuron):
    x = current(4, 3, 2, 5)  # [T, samples, ...]
    mapped = torch.vmap(neuron, in_dims=1, out_dims=1)(x)
    assert torch.equal(mapped, torch.stack([neuron(part) for part in x.unbind(1)], dim=1))


def test_gradients_of_samples_and_of_their_parameters(neuron: Neuron):
    x, parameters = current(3, 4, 2, 5), dict(neuron.named_parameters())

    def loss(x, parameters):
        return torch.func.functional_call(neuron, parameters, (x,)).square().sum()

    found = torch.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(0, None))(x, parameters)
    for i, sample in enumerate(x):
        neuron.zero_grad()
        sample = sample.clone().requires_grad_()
        neuron(sample).square().sum().backward()
        torch.testing.assert_close(found[0][i], sample.grad, rtol=1e-12, atol=1e-12)
        for name, parameter in parameters.items():
            torch.testing.assert_close(found[1][name][i], parameter.grad, rtol=1e-12, atol=1e-12)


def test_an_ensemble_is_a_map_over_parameters():
    neuron, x = ParametricLIF().double(), current(4, 5)
    times = torch.tensor([-0.5, 0.0, 1.0], dtype=torch.float64)
    mapped = torch.vmap(lambda w: torch.func.functional_call(neuron, {"w": w}, (x,)))(times)
    for w, spikes in zip(times, mapped, strict=True):
        assert torch.equal(spikes, lif(x, None, w, neuron.options)[0])


def test_jacobians_agree(neuron: Neuron):
    x = current(3, 4)
    torch.testing.assert_close(
        torch.func.jacfwd(neuron)(x), torch.func.jacrev(neuron)(x), rtol=1e-12, atol=1e-12
    )


def test_a_second_derivative_of_a_surrogate_is_refused():
    with pytest.raises(InputError, match="no second derivative"):
        torch.func.hessian(lambda x: LIF()(x).square().sum())(current(2, 3))


def test_binary_sub_steps_are_mapped_and_not_differentiated():
    neuron, x = ExpandedNeuron(4), current(2, 3, 5)
    assert torch.equal(torch.vmap(neuron)(x), torch.stack([neuron(part) for part in x]))
    for derivative in (torch.func.jacfwd(neuron), torch.func.jacrev(neuron)):
        with pytest.raises(InputError, match="for inference"):
            derivative(x)
