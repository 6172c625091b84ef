"""Where a network fires: maps per block and time step.

Figure 3 of the Spike-driven Transformer paper (NeurIPS 2023) shows, for an attention block, the firing rate of each
position, averaged over channels: of the value V before attention, and of what attention leaves of it. Red is high.
The same two places exist in every family here, whatever its attention computes:

* "value": the spikes of V;
* "output": the spikes that the block's last projection reads, after mask (SDT), or after product and neuron (others).

Rates are means over channels, so between 0 and 1 for LIF neurons; for integer neurons means of count / norm. In a
network expanded to binary spikes the columns are its T x D steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikedriven.errors import InputError
from spikedriven.graph.trace import as_graphed
from spikedriven.layers import FireProject, SpikingSelfAttention
from spikedriven.layers.expanded import ExpandedSelfAttention
from spikedriven.models.sdt import SpikeDrivenAttention
from spikedriven.neurons import Neuron

ATTENTION = (SpikeDrivenAttention, SpikingSelfAttention, ExpandedSelfAttention)
Place = Literal["value", "output", "neurons"]


@dataclass(frozen=True)
class FiringMap:
    """name: of the attention block or neuron, qualified; place: what was recorded; rates: float64 [T, H, W]."""

    name: str
    place: Place
    rates: Tensor

    @property
    def label(self) -> str:
        return self.name if self.place == "neurons" else f"{self.name} {self.place}"


def firing_maps(
    model: nn.Module, sample: Tensor, places: Sequence[Place] = ("value", "output")
) -> list[FiringMap]:
    """Maps of one sample, in the order in which they are computed.

    sample: a batch of one, [1, C, H, W] or [1, T, C, H, W]. places: "value" and "output" of attention blocks, or
    "neurons" for every neuron on a feature map. Raises InputError where the model has nothing of that kind.
    """
    if sample.ndim not in (4, 5) or sample.shape[0] != 1:
        raise InputError(
            f"expected one sample, [1, C, H, W] or [1, T, C, H, W], found shape {list(sample.shape)}"
        )
    maps: list[FiringMap] = []
    hooks = []
    try:
        for name, module in model.named_modules():
            hooks += _watch(name, module, places, maps)
        if not hooks:
            raise InputError(
                f"{type(model).__name__} has no {'neurons' if 'neurons' in places else 'attention block'} of this "
                f"package to look at{'' if 'neurons' in places else '; try the maps of its neurons instead'}"
            )
        with as_graphed(model), torch.no_grad():
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _watch(
    name: str, module: nn.Module, places: Sequence[Place], maps: list[FiringMap]
) -> list[RemovableHandle]:
    """Hooks that append to `maps` what this module contributes."""

    def keep(place: Place, spikes: Tensor) -> None:
        if spikes.ndim == 5:  # neurons in front of a classifier have no positions
            maps.append(FiringMap(name, place, spikes[:, 0].double().mean(1)))

    hooks = []
    if isinstance(module, ATTENTION) and "value" in places:
        hooks.append(
            module.v.register_forward_hook(lambda _m, _inputs, output: keep("value", output))
        )
    if isinstance(module, ATTENTION) and "output" in places:
        last = module.out.project if isinstance(module.out, FireProject) else module.out
        hooks.append(last.register_forward_pre_hook(lambda _m, inputs: keep("output", inputs[0])))
    if isinstance(module, Neuron) and "neurons" in places:
        hooks.append(
            module.register_forward_hook(lambda _m, _inputs, output: keep("neurons", output))
        )
    return hooks
