"""Residual branches, and blocks of two or more of them.

What they add is what the branches put out: membranes ("membrane shortcut"), or spikes.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from spikedriven.layers.drop import DropPath
from spikedriven.layers.scale import ChannelScale
from spikedriven.layers.unused import UnusedParameters


class Residual(nn.Module):
    """``x + drop_path(scale * branch(x))``. [T, B, C, H, W].

    layer_scale: initial value of a learned factor for each of the ``dim`` channels; 0: no factor.
    """

    def __init__(
        self,
        branch: nn.Module,
        dim: int,
        layer_scale: float = 0.0,
        drop_path: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.branch = branch
        self.scale = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.scaling = ChannelScale()
        self.drop_path = drop_path or DropPath()

    def forward(self, x: Tensor) -> Tensor:
        update = self.branch(x)
        if self.scale is not None:
            update = self.scaling(update, self.scale)
        return x + self.drop_path(update)


def block(**branches: nn.Module) -> nn.Sequential:
    """Residual branches one after the other, under the given names."""
    return nn.Sequential(OrderedDict(branches))


class AttentionBlock(nn.Module):
    """Attention and MLP, each on its own residual. [T, B, C, H, W].

    drop_path: rate of both. unused: parameters that a release holds in its blocks and never uses.
    """

    def __init__(
        self,
        attn: nn.Module,
        mlp: nn.Module,
        drop_path: float,
        unused: UnusedParameters | None = None,
    ) -> None:
        super().__init__()
        self.attn, self.mlp, self.drop_path = attn, mlp, DropPath(drop_path)
        self.unused = unused or UnusedParameters()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))
