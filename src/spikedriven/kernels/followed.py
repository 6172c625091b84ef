"""Who follows PyTorch's operators, so that no layer may leave them for a compiled kernel of its
own.
"""

import torch
from torch.autograd import forward_ad


def followed() -> bool:
    """Whether operators are being recorded or transformed: torch.compile, torch.export,
    torch.jit.trace, torch.func.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed()


def transformed() -> bool:
    """Whether a transformation of torch.func (grad, vmap, jvp ...) or forward-mode differentiation
    is under way.

    False inside torch.compile, which cannot ask.
    """
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
