"""Spikes that autograd keeps for the way back, as bits; counts of integer neurons, as half bytes.
Exact.

Autograd saves the input of every weight layer and both factors of every product. Where such a
tensor holds nothing but 0 and 1, or counts 0..D over a neuron's norm, it is stored as codes and
decoded when the gradient needs it. What a tensor holds is looked up in the tensor itself, value by
value, so nothing is assumed about who made it; the look ends at the first value that is not in the
alphabet.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from spikedriven.kernels import arrays, extension
from spikedriven.neurons.watch import neurons_of

#: Values fewer than this are not worth the look.
SMALLEST = 4096


@dataclass(frozen=True)
class Alphabet:
    """The values 0/norm, 1/norm, .. levels/norm, in codes of ``bits``: 1 where levels is 1,
    else 4.
    """

    levels: int
    norm: float

    @property
    def bits(self) -> int:
        return 1 if self.levels == 1 else 4

    @functools.lru_cache(maxsize=64)  # noqa: B019 (alphabets are few and frozen)
    def values(self, dtype: torch.dtype) -> Tensor:
        """float32 [16]: each value as ``dtype`` holds it. Codes above levels stand for NaN,
        which no value equals.
        """
        values = torch.full((16,), torch.nan)
        values[: self.levels + 1] = (torch.arange(self.levels + 1) / self.norm).to(dtype).float()
        return values


BINARY = Alphabet(1, 1.0)


@dataclass(frozen=True)
class Packed:
    """Codes of a tensor, and what it takes to write it again."""

    codes: Tensor
    alphabet: Alphabet
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


def alphabets(model: nn.Module) -> tuple[Alphabet, ...]:
    """What the neurons of a model may put out, binary spikes first."""
    found = (
        Alphabet(neuron.levels, neuron.divisor)
        for neuron in neurons_of(model).values()
        if neuron.levels < 16
    )
    return tuple(dict.fromkeys([BINARY, *found]))


def pack(x: Tensor, alphabet: Alphabet) -> Packed | None:
    """x as codes; None where a value of x is not in the alphabet. float32 or bfloat16 on a CPU,
    dense.
    """
    values = alphabet.values(x.dtype)
    codes = torch.empty((x.numel() + 15) // 16 * 2 * alphabet.bits, dtype=torch.uint8)
    fits = extension.loaded().pack(
        arrays.flat(x), alphabet.bits, values, alphabet.norm, codes, torch.get_num_threads()
    )  # fmt: skip
    return Packed(codes, alphabet, x.shape, x.stride(), x.dtype) if fits else None


def unpack(packed: Packed) -> Tensor:
    """The tensor that was packed, bit for bit, in the same memory order."""
    x = torch.empty_strided(packed.shape, packed.stride, dtype=packed.dtype)
    values = packed.alphabet.values(packed.dtype)
    extension.loaded().unpack(
        packed.codes, packed.alphabet.bits, values, arrays.flat(x), torch.get_num_threads()
    )
    return x


def pack_plain(x: Tensor, alphabet: Alphabet) -> Tensor | None:
    """The readable version: codes of x, one per byte, in the order of its memory; None where a
    value does not fit.
    """
    flat, values = arrays.flat(x).float(), alphabet.values(x.dtype)[: alphabet.levels + 1]
    same = flat.view(-1, 1).view(torch.int32) == values.view(torch.int32)
    return same.int().argmax(dim=1).byte() if bool(same.any(dim=1).all()) else None


def compact_saved(choices: Sequence[Alphabet]) -> saved_tensors_hooks:
    """A context: what autograd saves inside it is packed where it can be.

    Parameters, small tensors and tensors that are no CPU tensors of float32 or bfloat16 are saved
    as they are.
    """

    def pack_hook(x: Tensor) -> Any:
        if (
            isinstance(x, nn.Parameter)
            or x.numel() < SMALLEST
            or not arrays.takes(x)
            or not arrays.is_dense(x)
        ):
            return x
        return next((packed for choice in choices if (packed := pack(x, choice)) is not None), x)

    def unpack_hook(kept: Any) -> Tensor:
        return unpack(kept) if isinstance(kept, Packed) else kept

    return saved_tensors_hooks(pack_hook, unpack_hook)
