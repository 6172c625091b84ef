"""A layer with integer weights while it is trained: the arithmetic of `quantized`, with gradients
straight through.

Weights are real numbers that are rounded to whole multiples of their step at each call; gradients
pass the rounding as if it were not there, and stop where a weight lies beyond the largest integer.
The step is learnt too, with the gradient and its scale of LSQ (Esser et al., ICLR 2020, arXiv
1902.08153). Spikes come from the neurons as ever.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.layers.quantized import (
    QuantizedLayer,
    Reading,
    Window,
    conv_of,
    exactly,
    largest_integer,
    per_output,
)

#: A step that training drives below this share of where it began stays there.
LEAST_SHARE = 1e-3


def round_through(x: Tensor) -> Tensor:
    """Whole numbers, with the gradient of x."""
    return x + (x.round() - x).detach()


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """x, with its gradient times a factor."""
    held = x.detach()
    return held + (x - held) * factor


class TrainedLayer(nn.Module):
    """`QuantizedLayer` in training. [..., in, *size] -> [..., out, *size'].

    weight, bias: as of a float layer. step: of the weights, [out]; least_step: below it, it is not
    taken.
    """

    least_step: Tensor

    def __init__(
        self,
        weight: Tensor,
        step: Tensor,
        bias: Tensor,
        bits: int,
        reading: Reading,
        window: Window | None = None,
    ) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.step = nn.Parameter(step.clone())
        self.register_buffer("least_step", step * LEAST_SHARE)
        self.bits, self.reading, self.window = bits, reading, window

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self._computed(x)
        with exactly(x):
            return self._computed(x.float())

    def _computed(self, x: Tensor) -> Tensor:
        step = scaled_gradient(
            self._step(), 1 / math.sqrt(self._per_step() * largest_integer(self.bits))
        )
        integers = self._integers(step)
        counts = self._counts(x)
        axes = 0 if self.window is None else len(self.window.stride)
        sums = (
            F.linear(counts, integers) if self.window is None else self._convolved(counts, integers)
        )
        scale = (step * self.reading.unit).view(-1, *[1] * axes)
        return sums * scale + self._total_bias(integers, step).view(-1, *[1] * axes)

    def frozen(self) -> QuantizedLayer:
        """The layer with the integers that it has now."""
        with torch.no_grad():
            step = self._step()
            integers = self._integers(step).round()
            scale = (step * self.reading.unit).detach()
            bias = self._total_bias(integers, step).detach().clone()
            layer = QuantizedLayer(integers, scale, bias, self.bits, self.reading, self.window)
        return cast(QuantizedLayer, layer.eval())

    def _total_bias(self, integers: Tensor, step: Tensor) -> Tensor:
        """With what counts of 0 stand for; only a transposed layer reads none such."""
        if not self.reading.offset:
            return self.bias
        return self.bias + self.reading.offset * (integers.flatten(1).sum(1) * step)

    def _step(self) -> Tensor:
        return torch.maximum(self.step, self.least_step)

    def _per_step(self) -> int:
        return max(self.weight.numel() // len(self.step), 1)

    def _integers(self, step: Tensor) -> Tensor:
        most = largest_integer(self.bits)
        return round_through(
            (self.weight / per_output(step, self.weight, self.window)).clamp(-most, most)
        )

    def _counts(self, x: Tensor) -> Tensor:
        low, unit, levels = self.reading.low, self.reading.unit, self.reading.levels
        shifted = x - low if low else x
        return round_through((shifted / unit).clamp(0, levels))

    def _convolved(self, counts: Tensor, integers: Tensor) -> Tensor:
        assert self.window is not None
        kept = len(self.window.stride) + 1
        if counts.ndim == kept + 1:
            return conv_of(counts, integers, self.window, self._zero())
        leading = counts.shape[:-kept]
        return conv_of(counts.flatten(0, -kept - 1), integers, self.window, self._zero()).unflatten(
            0, leading
        )

    def _zero(self) -> float:
        """The count of zero, which stands around a map."""
        return float(round(-self.reading.low / self.reading.unit))

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, {self.bits} bits, trained"
