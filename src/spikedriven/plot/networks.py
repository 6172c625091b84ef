"""What a network does with an image: spikes, rates, energy, attention."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikedriven import figures
from spikedriven.errors import InputError
from spikedriven.graph.energy import EnergyReport
from spikedriven.graph.firing import Batches, each_batch
from spikedriven.graph.inputs import as_inputs, graphed_method, inputs_taken
from spikedriven.graph.layer_firing import LayerFirings
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons.watch import neuron_outputs
from spikedriven.report.attention import Place, firing_maps
from spikedriven.report.images import overlay


def rates(model: nn.Module, batches: Batches) -> Any:
    """Spikes per neuron of each layer and time step, as colours with their numbers; batches as
    `firing_rates` takes them."""
    found = LayerFirings()
    with neuron_outputs(model, found.see), as_graphed(model), torch.no_grad():
        for batch in each_batch(batches, inputs_taken(graphed_method(model))):
            model(*as_inputs(batch))
    layers = list(found.result().values())
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no neuron of this package: there is nothing that fires"
        )
    steps = max(len(layer.spikes) for layer in layers)
    table = np.full((len(layers), steps), np.nan)
    for row, layer in zip(table, layers, strict=True):
        row[: len(layer.spikes)] = layer.spikes.numpy()
    return figures.heat([layer.name for layer in layers], table, "spikes per neuron")


def energy(report: EnergyReport) -> Any:
    """How the energy adds up layer by layer, beside an ANN of the same shape in fp32 and int8; the
    same as ``report.plot()``."""
    return report.plot()


def attention(
    model: nn.Module, sample: Tensor, places: Sequence[Place] = ("value", "output")
) -> Any:
    """Where attention blocks fire, over the image: one row a block and place, one column a time
    step.

    sample: [1, C, H, W] or [1, T, C, H, W], prepared as for the model. places: "value" and "output"
    of attention blocks, or "neurons" for every layer of neurons.
    """
    picture = _picture(sample)
    rows = []
    for one in firing_maps(model.eval(), sample, places):
        largest = float(one.rates.max())
        layers = [overlay(picture, step, largest) for step in one.rates]
        rows.append((f"{_lines(one.label)}\nrate 0 to {largest:.2f}", [picture, *layers]))
    steps = max(len(pictures) for _, pictures in rows) - 1
    return figures.grid(rows, ["input", *(f"step {i + 1}" for i in range(steps))])


def _lines(label: str) -> str:
    """A long label over several lines, broken after dots and spaces."""
    lines = [""]
    for part in re.split(r"(?<=[. ])", label):
        lines = (
            [*lines, part] if len(lines[-1]) + len(part) > 22 else [*lines[:-1], lines[-1] + part]
        )
    return "\n".join(lines)


def _picture(sample: Tensor) -> np.ndarray:
    """uint8 [H, W, 3] of what the network reads, from its smallest value to its largest."""
    frame = sample[0].float().cpu()
    frame = frame.mean(0) if frame.ndim == 4 else frame
    frame = frame if len(frame) == 3 else frame.mean(0, keepdim=True).expand(3, -1, -1)
    low, high = frame.min(), frame.max()
    scaled = (frame - low) / (high - low).clamp_min(1e-12)
    large = max(1, 96 // min(frame.shape[1:]))
    pixels = (255 * scaled).round().byte().permute(1, 2, 0).numpy()
    return pixels.repeat(large, 0).repeat(large, 1)
