"""Networks whose weights the engine holds exactly, so that nothing stands between a network and its
program.

Weights are -1, 0 or 1 times a power of two: the steps of the engine's integers hit these. Norms
only shift, by amounts that keep every neuron away from its threshold by more than the rounding of
float32.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def exact(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with such weights, in place."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, _BatchNorm):
                _shift_only(module, rng)
            elif isinstance(weight, nn.Parameter) and weight.ndim > 1:
                weight.copy_(_ternary(weight, rng))
                if module.bias is not None:
                    module.bias.copy_(_shifts(module.bias, rng))
            scale = getattr(module, "scale", None)
            if isinstance(scale, nn.Parameter):
                scale.fill_(1.0)
    return network.eval()


def _ternary(like: Tensor, rng: torch.Generator) -> Tensor:
    signs = torch.randint(-1, 2, like.shape, generator=rng)
    fan_in = like[0].numel()
    return signs.to(like.dtype) * 2.0 ** round(-math.log2(math.sqrt(fan_in) * 0.4))


def _shifts(like: Tensor, rng: torch.Generator) -> Tensor:
    return (torch.rand(like.shape, generator=rng) * 0.8).to(like.dtype)


def _shift_only(norm: _BatchNorm, rng: torch.Generator) -> None:
    norm.eps = 0.0
    norm.weight.fill_(1.0)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
    norm.bias.copy_(_shifts(norm.bias, rng))


def halves(*shape: int, seed: int = 1) -> Tensor:
    """Inputs that are multiples of one half."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)) / 2.0
