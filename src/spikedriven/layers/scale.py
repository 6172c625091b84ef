"""Constant factors as modules, so that `graph.fuse` can take them away again."""

from torch import Tensor, nn

from spikedriven.errors import InputError


class Scale(nn.Module):
    """``factor * x``, x of any shape. A factor of an attention product belongs in one: `fuse` moves
    it into the threshold behind the product, which it cannot do for a factor inside a forward.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        if not factor > 0:
            raise InputError(f"a scale must be positive, found {factor}")
        self.factor = float(factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class ChannelScale(nn.Module):
    """``scale[c] * x`` for maps [..., C, H, W]; the factors [C] belong to the caller and come
    along at each call.
    """

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale.view(-1, 1, 1)
