"""A quantized module beside its program: outputs and every spike, bit for bit."""

import torch
from torch import Tensor, nn

from spikedriven.engine import Program
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import neuron_outputs

Inputs = tuple[Tensor, ...]


def results(model: nn.Module, inputs: Inputs) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """Outputs, and what each neuron counted at each call: [T, B, ...]."""
    counted: dict[str, list[Tensor]] = {}

    def see(name: str, neuron: Neuron, output: Tensor) -> None:
        counted.setdefault(name, []).append((output * neuron.divisor).round())

    with torch.no_grad(), as_graphed(model), neuron_outputs(model, see):
        output = model(*inputs)
    return _tensors(output), counted


def check_same(model: nn.Module, program: Program, inputs: Inputs) -> int:
    """Outputs of the batch, and the spikes of its first sample. Returns how many maps of spikes
    were compared.
    """
    outputs, counted = results(model, inputs)
    found = program(*inputs)
    for expected, one in zip(outputs, _tensors(found), strict=True):
        assert torch.equal(one, expected), f"differ by {float((one - expected).abs().max()):.3g}"
    compared = 0
    alone = results(model, tuple(x[:1] for x in inputs))[1]
    assert alone.keys() == counted.keys()
    for m, value in program.maps(*(x[:1] for x in inputs)):
        calls = alone.get(m.name, []) if m.kind == "spikes" else []
        if len(calls) == 1 and calls[0].numel() == calls[0].shape[0] * value[0].numel():
            compared += 1
            assert torch.equal(
                _sorted(value.float(), len(calls[0])), _sorted(calls[0], len(calls[0]))
            ), m.name
            if calls[0].ndim == 5:
                assert torch.equal(
                    value.float().expand(len(calls[0]), -1, -1, -1), _last(calls[0])
                ), m.name
    return compared


def _tensors(output: object) -> list[Tensor]:
    """Of one output, several, or several by name."""
    found = (
        output.values()
        if isinstance(output, dict)
        else output
        if isinstance(output, tuple)
        else [output]
    )
    return list(found)


def _last(counts: Tensor) -> Tensor:
    return counts[:, 0].permute(0, 2, 3, 1)


def _sorted(values: Tensor, steps: int) -> Tensor:
    """Values of each step in order of size, whatever axes they lie along."""
    return values.flatten(1).sort(dim=1).values.expand(steps, -1)
