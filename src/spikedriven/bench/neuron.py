"""A neuron alone, for `spikedriven bench train`: how far from the time that moving its bytes
takes.
"""

from dataclasses import dataclass

import torch

from spikedriven.bench.rounds import Spread, ratios
from spikedriven.bench.worker import seconds_of
from spikedriven.neurons import lif
from spikedriven.training.memory import keep_memory


@dataclass(frozen=True)
class NeuronCost:
    """Milliseconds of a LIF neuron alone, forward and backward, of copying as many bytes, and
    the ratio of the two.
    """

    neuron: Spread
    copy: Spread
    ratio: Spread


def measure_neuron(
    threads: int = 2,
    rounds: int = 20,
    elements: int = 2**22,
    time_steps: int = 4,
    device: str = "cpu",
) -> NeuronCost:
    """A LIF neuron on float32 [T, elements] against a copy of the bytes it must move at least.

    Forward reads x and writes spikes; backward reads x and the gradient and writes a gradient: 20
    bytes a value and time step. A copy moves 8 bytes a value.
    """
    if device == "cpu":
        keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x = torch.randn(time_steps, elements, device=device, requires_grad=True)
    upstream, values = torch.randn_like(x), time_steps * elements * 20 // 8
    source, target = torch.ones(values, device=device), torch.empty(values, device=device)

    def neuron() -> None:
        x.grad = None
        lif(x)[0].backward(upstream)

    pairs = [
        (seconds_of(neuron), seconds_of(lambda: target.copy_(source))) for _ in range(rounds + 1)
    ][1:]
    torch.set_num_threads(before)
    neurons, copies = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    neuron_cost, copy_cost = (Spread.of([1e3 * s for s in times]) for times in (neurons, copies))
    return NeuronCost(neuron_cost, copy_cost, ratios(neurons, copies))
