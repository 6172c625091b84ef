"""The one place that looks at neurons: which there are, what they put out as spikes, hooks that
go away.
"""

import pytest
import torch
from torch import nn

from spikedriven.neurons import LIF, ExpandedNeuron, IntegerNeuron
from spikedriven.neurons.watch import counts, neuron_outputs, neurons_of


@pytest.mark.parametrize(("levels", "norm"), [(4, None), (4, 8.0), (8, 3.0), (5, 0.1)])
def test_counts_undo_the_norm_exactly(levels: int, norm: float | None) -> None:
    neuron = IntegerNeuron(levels, norm, rounding="half_up")
    x = torch.arange(-2.0, levels + 3.0)
    assert counts(neuron, neuron(x)).tolist() == x.clamp(0, levels).tolist()
    assert neuron.levels == levels


def test_other_neurons_are_binary() -> None:
    spikes = torch.tensor([[0.0, 1.0]])
    for neuron in (LIF(), ExpandedNeuron(4)):
        assert neuron.levels == 1 and counts(neuron, spikes) is spikes


def test_every_call_is_seen_in_order_and_nothing_stays() -> None:
    model = nn.ModuleDict({"late": LIF(), "early": IntegerNeuron(), "conv": nn.Conv2d(1, 1, 1)})
    seen = []
    x = torch.ones(2, 1)
    with neuron_outputs(model, lambda name, neuron, output: seen.append((name, neuron, output))):
        outputs = [model["early"](x), model["late"](x), model["early"](x)]
    model["late"](x)
    assert [(name, neuron) for name, neuron, _ in seen] == [
        ("early", model["early"]),
        ("late", model["late"]),
        ("early", model["early"]),
    ]
    assert all(a is b for (_, _, a), b in zip(seen, outputs, strict=True))
    assert list(neurons_of(model)) == ["late", "early"]
    assert not any(neuron._forward_hooks for neuron in neurons_of(model).values())


def test_hooks_go_away_when_the_network_fails() -> None:
    model = nn.Sequential(LIF())
    with pytest.raises(ZeroDivisionError), neuron_outputs(model, lambda *_: 1 / 0):
        model(torch.ones(1, 1))
    assert not model[0]._forward_hooks
