"""`Neuron`: the base class of every neuron, ours and yours. See docs/add_a_neuron.md."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.kernels.spec import NeuronSpec


@dataclass(frozen=True)
class Compiled:
    """A neuron for kernels that merge it with the layer in front of it.

    neuron, slope: its constants, and how gradients pass it, as the extension has them; both from
    the time constant. divisor: what counts are divided by. time_constant: w of a parametric neuron.
    """

    neuron: Callable[[Tensor | None], Any]
    slope: Callable[[Tensor | None], Any]
    divisor: float = 1.0
    time_constant: Tensor | None = None


class Neuron(nn.Module):
    """Base of every neuron. ``forward`` takes a current [T, ...] and returns spikes [T, ...].

    The rest of the library asks a neuron, never its class: these attributes and methods answer.

    levels: the largest count that it puts out in one step; 1 for binary spikes.
    unit: what one count of its output is worth: an output is a whole number 0..levels times the
    unit. state_names: attributes that one time step hands to the next. Each is a tensor [...] or,
    at rest, None; `keep` sets them. Every call starts at rest unless a stream is open.
    """

    levels: int = 1
    unit: float = 1.0
    state_names: ClassVar[tuple[str, ...]] = ("membrane",)
    #: The membrane that the next call starts from; only ever set inside an open stream.
    membrane: Tensor | None = None
    streaming: bool = False

    @property
    def divisor(self) -> float:
        """What counts are divided by: 1 / unit."""
        return 1.0 / self.unit

    def spec(self) -> NeuronSpec | None:
        """Its constants for the engine and for files; None for a neuron that these do not have."""
        return None

    def rescale(self, factor: float) -> None:
        """From now on put out for ``factor * x`` what was put out for x, factor > 0.

        Changes the neuron itself. Raises InputError where a neuron cannot do it.
        """
        raise InputError(
            f"{type(self).__name__} cannot take over a factor of its input; give it a method "
            "rescale(factor) that moves its threshold, or leave the factor where it is"
        )

    def expanded(self) -> "Neuron":
        """The neuron as binary steps: T steps in, T x levels steps out. A binary one is its own.

        Its steps are worth 1 each: what reads them takes over the unit.
        """
        if self.levels == 1 and self.unit == 1.0:
            return self
        raise InputError(
            f"{type(self).__name__} counts to {self.levels} in units of {self.unit:g} and has no "
            "expansion; give it a method expanded() that returns a neuron of binary steps"
        )

    def readable(self, x: Tensor) -> Tensor:
        """``forward`` from rest in PyTorch's own operators, which autograd differentiates."""
        return self(x)

    def compiled(self) -> Compiled | None:
        """For training kernels that merge it with what is in front of it; None: they let it be."""
        return None

    def values(self, dtype: torch.dtype) -> Tensor:
        """All that it can put out, 0..levels times the unit, as ``dtype`` holds it. [levels +
        1].
        """
        return (torch.arange(self.levels + 1) / self.divisor).to(dtype)

    def keep(self, **state: Tensor | None) -> None:
        """Hand state to the next call: ``self.keep(membrane=v)`` at the end of ``forward``.

        Names as in ``state_names``. Outside a stream nothing is kept.
        """
        unknown = sorted(state.keys() - set(self.state_names))
        if unknown:
            raise InputError(
                f"{type(self).__name__} keeps {unknown[0]!r}, which is not among its state_names "
                f"{self.state_names}; add it there"
            )
        if self.streaming:
            for name, value in state.items():
                setattr(self, name, value)
