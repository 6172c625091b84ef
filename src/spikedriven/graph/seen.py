"""What layers read on calibration images: the figures by which ranges are chosen."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.graph.inputs import as_inputs
from spikedriven.graph.trace import as_graphed

#: How many values of a layer's input are kept from one batch.
KEPT = 4096


@dataclass(frozen=True)
class Seen:
    """What a layer read on the calibration images: mean and mean square per input channel, float64;
    smallest and largest value; some of the values; grid: the power of two that all are whole
    multiples of, 0.0 for none.
    """

    mean: Tensor
    square: Tensor
    low: float
    high: float
    sample: Tensor
    grid: float


def see(model: nn.Module, axes: Mapping[str, int], batches: list[Any]) -> dict[str, Seen]:
    """What modules read on these batches. axes: their names, and the axis of channels, from the
    end.
    """
    found: dict[str, list[Seen]] = defaultdict(list)
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _m, args, name=name, axis=axis: found[name].append(_look(args[0], axis))
        )
        for name, axis in axes.items()
    ]
    try:
        with torch.no_grad(), as_graphed(model):
            for batch in batches:
                model(*as_inputs(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _together(looks) for name, looks in found.items()}


def _look(x: Tensor, axis: int) -> Seen:
    flat = x.detach().movedim(axis, -1).flatten(0, -2).double()
    values = flat.flatten()
    sample = values[:: max(len(values) // KEPT, 1)]
    return Seen(
        flat.mean(0),
        flat.square().mean(0),
        values.min().item(),
        values.max().item(),
        sample,
        _grid(values),
    )


def _together(looks: list[Seen]) -> Seen:
    means, squares = (
        torch.stack([getattr(look, name) for look in looks]).mean(0) for name in ("mean", "square")
    )
    low, high = min(look.low for look in looks), max(look.high for look in looks)
    return Seen(
        means,
        squares,
        low,
        high,
        torch.cat([s.sample for s in looks]),
        min(look.grid for look in looks),
    )


def _grid(values: Tensor) -> float:
    """The largest power of two, 1 to 2^-8, that all values are whole multiples of; 0.0 for none."""
    for grid in (2.0**-k for k in range(9)):
        if bool((values / grid == (values / grid).round()).all()):
            return grid
    return 0.0
