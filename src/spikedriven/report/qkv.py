"""The spikes of Q, K and V in attention blocks, as arrays."""

import io
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import counts, neuron_outputs
from spikedriven.report.attention import attention_blocks

PARTS = ("q", "k", "v")


def qkv_spikes(model: nn.Module, sample: Tensor) -> dict[str, np.ndarray]:
    """Spikes of one sample in every attention block.

    sample: [1, C, H, W] or [1, T, C, H, W]. Returns "BLOCK.q", "BLOCK.k" and "BLOCK.v", each uint8
    [T, C, H, W], in the order in which they are computed, and "BLOCK.num_heads". BLOCK: qualified
    name of the attention block. Q-K token attention has no v.

    Spikes are 0 or 1; integer neurons give counts 0..D; a network expanded to binary spikes has
    T x D steps. They are as the neurons put them out: before heads are split, and before the pools
    of the CIFAR10-DVS form of SDT. Raises InputError where the model has no attention block, or
    counts above 255.
    """
    if sample.ndim not in (4, 5) or sample.shape[0] != 1:
        found = list(sample.shape)
        raise InputError(f"expected one sample, [1, C, H, W] or [1, T, C, H, W], found {found}")
    blocks = attention_blocks(model)
    if not blocks:
        kind = type(model).__name__
        raise InputError(f"{kind} has no attention block of this package: there is no q, k or v")
    wanted = {f"{block}.{part}.neuron": f"{block}.{part}" for block in blocks for part in PARTS}
    spikes: dict[str, np.ndarray] = {}

    def see(name: str, neuron: Neuron, output: Tensor) -> None:
        if name in wanted:
            spikes[wanted[name]] = _bytes(neuron, output[:, 0])

    with neuron_outputs(model, see), as_graphed(model), torch.no_grad():
        model(sample)
    heads = {f"{name}.num_heads": np.array(module.num_heads) for name, module in blocks.items()}
    return spikes | heads


def _bytes(neuron: Neuron, output: Tensor) -> np.ndarray:
    most = neuron.levels
    if most > 255:
        raise InputError(f"counts up to {most} do not fit into bytes; levels of at most 255 do")
    return counts(neuron, output).to(torch.uint8).cpu().numpy()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed .npz file."""
    buffer = io.BytesIO()
    # numpy's stubs take every keyword for its option allow_pickle
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    return buffer.getvalue()
