"""Stochastic depth for tensors with a time axis."""

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError


class DropPath(nn.Module):
    """Drop a residual branch per sample, at all time steps together, and scale what stays by 1 /
    keep.

    rate: probability in [0, 1). x: [T, B, ...].
    per: "sample", or "batch" for what the E-SpikeFormer Large release does (its first axis is T =
    1, so one draw decides for the whole mini-batch).
    """

    def __init__(self, rate: float = 0.0, per: str = "sample") -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise InputError(f"the drop path rate must lie in [0, 1), found {rate}")
        if per not in ("sample", "batch"):
            raise InputError(f"drop path works per 'sample' or per 'batch', found {per!r}")
        self.rate, self.per = rate, per

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        samples = x.shape[1] if self.per == "sample" else 1
        kept = torch.rand(samples, device=x.device) < keep
        return x * (kept.to(x.dtype) / keep).view(1, samples, *[1] * (x.ndim - 2))

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}, per={self.per}"


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Linear rule: 0 in the first block up to ``rate`` in the last."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
