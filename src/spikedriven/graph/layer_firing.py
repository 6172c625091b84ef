"""How the neurons of each layer fire: per time step, per image, and which of them never do.

A neuron is one element of a layer's output for one image: a channel at a position. An integer
neuron's count n is n spikes, so spikes per step lie between 0 and D there, else between 0 and 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import counts

#: Columns of a row that belong to the layer, and of one that belongs to a time step.
OF_LAYER = ("neuron", "levels", "neurons", "fires_in_an_image", "never_fires", "always_full")
OF_STEP = ("mean_output", "spikes", "share_firing")


@dataclass(frozen=True)
class LayerFiring:
    """One layer of neurons over a number of images.

    name: qualified. neuron: its class. levels: the most spikes of one step. neurons: of one image;
    None where images had several sizes. Per time step, float64 [T]: mean_output, as `firing_rates`
    gives it; spikes, mean number per neuron; share_firing, share of neurons with a spike.
    fires_in_an_image: share of neurons with a spike at any step of an image, mean over images.
    never_fires: share of neurons without a spike on any image; always_full: share of neurons with
    the most spikes at every step of every image; None where images had several sizes.
    """

    name: str
    neuron: str
    levels: int
    neurons: int | None
    mean_output: Tensor
    spikes: Tensor
    share_firing: Tensor
    fires_in_an_image: float
    never_fires: float | None
    always_full: float | None

    @property
    def dead(self) -> bool:
        """No neuron of the layer fired on any image."""
        return not self.spikes.any()

    @property
    def saturated(self) -> bool:
        """Every neuron of the layer had the most spikes at every step of every image."""
        return bool((self.spikes == self.levels).all())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; "steps" has one entry a time step."""
        values = {key: getattr(self, key).tolist() for key in OF_STEP}
        count = len(self.spikes)
        steps = [{"step": i + 1, **{key: values[key][i] for key in OF_STEP}} for i in range(count)]
        return {"name": self.name, **{key: getattr(self, key) for key in OF_LAYER}, "steps": steps}


class LayerFirings:
    """Collects what `neurons.watch.neuron_outputs` sees: hand it ``see``."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}

    def see(self, name: str, neuron: Neuron, output: Tensor) -> None:
        self._tallies.setdefault(name, _Tally(neuron, len(output))).add(output)

    def result(self) -> dict[str, LayerFiring]:
        """By name, in the order of their first call; neurons never called are left out."""
        return {name: tally.result(name) for name, tally in self._tallies.items()}


class _Tally:
    """Sums over all calls of one neuron."""

    def __init__(self, neuron: Neuron, steps: int) -> None:
        self.neuron, self.levels = neuron, neuron.levels
        self.elements = 0  # over images, per step
        zeros = torch.zeros(3, steps, dtype=torch.float64)
        self.output, self.spikes, self.firing = zeros.unbind()
        self.fired = 0
        self.ever: Tensor | None = None  # bool, of one image's shape
        self.full: Tensor | None = None
        self.one_size = True

    def add(self, output: Tensor) -> None:
        """output: [T, B, ...]."""
        found = counts(self.neuron, output)
        fires, full = found > 0, found == self.levels
        self.elements += output[0].numel()
        self.output += _per_step(output)
        self.spikes += _per_step(found)
        self.firing += _per_step(fires)
        in_an_image = fires.any(0)
        self.fired += int(in_an_image.sum())
        self._combine(in_an_image.any(0), full.all(0).all(0))

    def _combine(self, fired: Tensor, full: Tensor) -> None:
        """Of which neurons it still holds that they never, or always, ..."""
        if self.ever is None or self.full is None:
            self.ever, self.full = fired, full
        elif self.ever.shape != fired.shape:
            self.one_size = False
        elif self.one_size:
            self.ever, self.full = self.ever | fired, self.full & full

    def result(self, name: str) -> LayerFiring:
        assert self.ever is not None and self.full is not None  # a tally is made at a call
        known = self.one_size
        return LayerFiring(
            name=name,
            neuron=type(self.neuron).__name__,
            levels=self.levels,
            neurons=self.ever.numel() if known else None,
            mean_output=self.output / self.elements,
            spikes=self.spikes / self.elements,
            share_firing=self.firing / self.elements,
            fires_in_an_image=self.fired / self.elements,
            never_fires=1 - _share(self.ever) if known else None,
            always_full=_share(self.full) if known else None,
        )


def _per_step(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1, dtype=torch.float64).cpu()


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / flags.numel()


def rows(layers: Iterable[LayerFiring]) -> list[dict[str, Any]]:
    """One flat row a layer and time step, for CSV; figures of the layer stand in each of its
    rows.
    """
    found = []
    for layer in layers:
        whole = layer.to_dict()
        steps = whole.pop("steps")
        found += [{"name": whole["name"], **step, **whole} for step in steps]
    return found
