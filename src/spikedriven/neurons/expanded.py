"""An integer neuron as D binary sub-steps: ``s_d = 1 where the integer neuron's count is at least
d``, d = 1..D.

The sum of the sub-steps is the count, so any linear layer gives the same result whether it reads
the count once or the D binary sub-steps one after the other. See docs/t_by_d.md.
"""

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.kernels.followed import written_out
from spikedriven.neurons.base import Neuron
from spikedriven.neurons.dynamics import membrane_dtype


def expand_spike_plain(x: Tensor, levels: int, threshold: float, rounding: str) -> Tensor:
    """Plain operators: x [T, ...] -> [T * D, ...], sub-steps of one time step in a row.

    The same division by the threshold as in the integer neuron, then one comparison per sub-step:
    the count reaches d where ``y >= d - 1/2``; a tie rounds up, except, with rounding "half_even",
    to an even count only.
    """
    y = x.to(membrane_dtype(x)) / threshold
    steps = [_reaches(y, d, rounding).to(x.dtype) for d in range(1, levels + 1)]
    return torch.stack(steps, dim=1).flatten(0, 1)


def _reaches(y: Tensor, d: int, rounding: str) -> Tensor:
    if rounding == "half_up":
        return y + 0.5 >= d  # the sum that the integer neuron rounds down, with its rounding
    return y > d - 0.5 if d % 2 else y >= d - 0.5


@torch.library.custom_op("spikedriven::expand_spike", mutates_args=())
def expand_spike(x: Tensor, levels: int, threshold: float, rounding: str) -> Tensor:
    """The operator. x: [T, ...] -> binary [T * levels, ...], same dtype."""
    return expand_spike_plain(x, levels, threshold, rounding)


@expand_spike.register_fake
def _(x, levels, threshold, rounding):
    return x.new_empty(x.shape[0] * levels, *x.shape[1:])


class _ForInference(torch.autograd.Function):
    """`expand_spike_plain` where torch.func or an ONNX file follows the operators: it has no
    derivative, and says so.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, levels, threshold, rounding):  # type: ignore[override]
        return expand_spike_plain(x, levels, threshold, rounding)

    @staticmethod
    def setup_context(ctx, inputs, output):  # type: ignore[override]
        pass

    @staticmethod
    def backward(ctx, *_):  # type: ignore[override]
        raise InputError(
            "binary sub-steps are for inference: differentiate the network before `expand`"
        )

    jvp = backward


class ExpandedNeuron(Neuron):
    """Binary sub-steps of an integer neuron. [T, ...] -> [T * sub_steps, ...] in {0, 1}. Inference
    only.

    sub_steps: D, the levels of the integer neuron. threshold: what its input is divided by.
    rounding: as there.
    """

    def __init__(self, sub_steps: int, threshold: float = 1.0, rounding: str = "half_even") -> None:
        super().__init__()
        self.sub_steps, self.threshold, self.rounding = sub_steps, threshold, rounding

    def rescale(self, factor: float) -> None:
        """Fire for ``factor * x`` as it did for x: the threshold moves along."""
        self.threshold *= factor

    def forward(self, x: Tensor) -> Tensor:
        fire = _ForInference.apply if written_out() else expand_spike
        return fire(x, self.sub_steps, self.threshold, self.rounding)

    def extra_repr(self) -> str:
        return f"sub_steps={self.sub_steps}, threshold={self.threshold:g}, rounding={self.rounding}"
