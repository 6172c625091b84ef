"""Streaming, firing rates and gradients of foreign networks."""

import pytest
import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.neurons import StreamState, open_stream
from spikedriven.neurons.watch import neuron_outputs, neurons_of
from tests.foreign.looked_at import batch, measured, network, outputs
from tests.foreign.networks import BY_NAME, FOREIGN, Foreign

each = pytest.mark.parametrize("one", FOREIGN, ids=str)


@each
def test_firing_rates_are_those_of_the_energy_table(one: Foreign):
    net = network(one.name)
    rates = sd.firing_rates(net, batch(one))
    layers = {layer.name: layer for layer in measured(one.name).layers if layer.output is not None}
    assert len(rates) == len(layers) or one.name == "resnet"  # its neurons are called twice each
    for name, rate in rates.items():
        neuron = neurons_of(net).get(name)
        calls = [layer.output.rate for layer in measured(one.name).layers if layer.name == name]
        unit = 1.0 if neuron is None else neuron.unit
        if len(calls) == 1:
            assert rate == pytest.approx(calls[0] * unit, rel=1e-6)


#: The neurons of these read [T, B, ...] of frames that arrive one at a time.
STREAMED = ("event_steps", "own_neuron")


@pytest.mark.parametrize("name", STREAMED)
def test_one_step_at_a_time_equals_all_at_once(name: str):
    """Membranes go in and come out; the neurons of three single steps fire as those of one run."""
    net = BY_NAME[name].make().double()
    together = _spikes(net, BY_NAME[name].inputs(2)[0].double())
    state, steps = StreamState(), []
    for t in range(len(next(iter(together.values())))):
        with open_stream(net, state) as after:
            steps.append(_spikes(net, _step(net, name, t)))
        state = StreamState(dict(after), t + 1)
    for neuron, spikes in together.items():
        assert torch.equal(torch.cat([step[neuron] for step in steps]), spikes)


def _step(net: nn.Module, name: str, t: int) -> Tensor:
    x = BY_NAME[name].inputs(2)[0].double()
    if name == "event_steps":
        return x[:, t : t + 1]
    net.steps = 1  # an image network is shown the image once more
    return x


def _spikes(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    seen = neuron_outputs(net, lambda name, _neuron, output: found.__setitem__(name, output))
    with seen, torch.no_grad():
        net(x)
    return found


@each
def test_a_training_step_reaches_every_weight(one: Foreign):
    net = one.make().train()
    loss = sum(out.square().sum() for out in outputs(net(*one.inputs(4))))
    loss.backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in net.parameters())
