"""Where a network fires: maps per block and time step.

Figure 3 of the Spike-driven Transformer paper (NeurIPS 2023) shows, for an attention block, the
firing rate of each position, averaged over channels: of the value V before attention, and of what
attention leaves of it. Red is high. The same two places exist in every family here, whatever its
attention computes:

* "value": the spikes of V; of K, where an attention has no V and keeps or clears K (QKFormer);
* "output": the spikes that the last projection reads: after the mask, or after product and neuron.

Rates are means over channels, so between 0 and 1 for LIF neurons; for integer neurons means of
count / norm. In a network expanded to binary spikes the columns are its T x D steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikedriven.errors import InputError
from spikedriven.graph.substeps import as_steps
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import neuron_outputs, neurons_of

#: What an attention block is made of: units that fire q and k (and v), and a last projection.
PARTS = ("q", "k", "out")
Place = Literal["value", "output", "neurons"]


@dataclass(frozen=True)
class FiringMap:
    """name: of the attention block or neuron, qualified; place: what was recorded; rates:
    float64 [T, H, W].
    """

    name: str
    place: Place
    rates: Tensor

    @property
    def label(self) -> str:
        return self.name if self.place == "neurons" else f"{self.name} {self.place}"


def attention_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Attention blocks by qualified name, in the order of the model: modules with `PARTS`."""
    return {name: m for name, m in model.named_modules() if _is_attention(m)}


def _is_attention(module: nn.Module) -> bool:
    children = dict(module.named_children())
    return all(part in children for part in PARTS)


def firing_maps(
    model: nn.Module, sample: Tensor, places: Sequence[Place] = ("value", "output")
) -> list[FiringMap]:
    """Maps of one sample, in the order in which they are computed.

    sample: a batch of one, [1, C, H, W] or [1, T, C, H, W]. places: "value" and "output" of
    attention blocks, or "neurons" for every neuron on a feature map. Raises InputError where the
    model has nothing of that kind.
    """
    if sample.ndim not in (4, 5) or sample.shape[0] != 1:
        raise InputError(
            "expected one sample, [1, C, H, W] or [1, T, C, H, W], found shape "
            f"{list(sample.shape)}"
        )
    maps: list[FiringMap] = []
    blocks = {} if set(places) == {"neurons"} else attention_blocks(model)
    watched = neurons_of(model) if "neurons" in places else {}
    if not (blocks or watched):
        raise InputError(
            f"{type(model).__name__} has no "
            f"{'neurons' if 'neurons' in places else 'attention block'} of this "
            "package to look "
            f"at{'' if 'neurons' in places else '; try the maps of its neurons instead'}"
        )

    def keep(name: str, place: Place, spikes: Tensor) -> None:
        spikes = as_steps(spikes)
        if spikes.ndim == 5:  # neurons in front of a classifier have no positions
            maps.append(FiringMap(name, place, spikes[:, 0].double().mean(1)))

    def see(name: str, _neuron: Neuron, output: Tensor) -> None:
        if name in watched:
            keep(name, "neurons", output)

    hooks = [hook for name, block in blocks.items() for hook in _watch(name, block, places, keep)]
    try:
        with neuron_outputs(model, see), as_graphed(model), torch.no_grad():
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _watch(
    name: str, block: nn.Module, places: Sequence[Place], keep: Callable[[str, Place, Tensor], None]
) -> list[RemovableHandle]:
    """Hooks that hand on what an attention block shows."""
    hooks = []
    if "value" in places:
        value = cast(nn.Module, getattr(block, "v", block.k))
        hooks.append(
            value.register_forward_hook(lambda _m, _inputs, output: keep(name, "value", output))
        )
    if "output" in places:
        last = cast(nn.Module, getattr(block.out, "project", block.out))
        hooks.append(
            last.register_forward_pre_hook(lambda _m, inputs: keep(name, "output", inputs[0]))
        )
    return hooks
