"""An integer neuron as D binary sub-steps: ``s_d = 1 where the integer neuron's count is at least d``, d = 1..D.

The sum of the sub-steps is the count, so any linear layer gives the same result whether it reads the count once or
the D binary sub-steps one after the other. See docs/t_by_d.md.
"""

import torch
from torch import Tensor

from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.modules import Neuron


def expand_spike_plain(x: Tensor, levels: int, threshold: float, rounding: str) -> Tensor:
    """Plain operators: x [T, ...] -> [T * D, ...], sub-steps of one time step in a row.

    The count reaches d where ``x / threshold >= d - 1/2``; a tie rounds up, except, with rounding "half_even", to an
    even count only.
    """
    steps = []
    for d in range(1, levels + 1):
        bound = (d - 0.5) * threshold
        rises = x > bound if rounding == "half_even" and d % 2 else x >= bound
        steps.append(rises.to(x.dtype))
    return torch.stack(steps, dim=1).flatten(0, 1)


@torch.library.custom_op("spikedriven::expand_spike", mutates_args=())
def expand_spike(x: Tensor, levels: int, threshold: float, rounding: str) -> Tensor:
    """The operator. x: [T, ...] -> binary [T * levels, ...], same dtype."""
    return expand_spike_plain(x, levels, threshold, rounding)


@expand_spike.register_fake
def _(x, levels, threshold, rounding):
    return x.new_empty(x.shape[0] * levels, *x.shape[1:])


class ExpandedNeuron(Neuron):
    """Binary sub-steps of an integer neuron. [T, ...] -> [T * levels, ...] in {0, 1}. Inference only.

    threshold: what the integer neuron's input was divided by (factors in front of it are folded in here).
    """

    def __init__(self, levels: int, threshold: float = 1.0, rounding: str = "half_even") -> None:
        super().__init__()
        self.levels, self.threshold, self.rounding = levels, threshold, rounding

    @classmethod
    def of(cls, neuron: IntegerNeuron, input_factor: float = 1.0) -> "ExpandedNeuron":
        """For a neuron whose input now lacks the constant factor ``input_factor``."""
        return cls(neuron.levels, 1.0 / input_factor, neuron.rounding)

    def forward(self, x: Tensor) -> Tensor:
        return expand_spike(x, self.levels, self.threshold, self.rounding)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, threshold={self.threshold:g}, rounding={self.rounding}"
