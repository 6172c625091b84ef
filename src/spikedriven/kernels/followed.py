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


def written_out() -> bool:
    """Whether neurons must be the readable code in plain operators: under a transformation of
    torch.func, and where ``torch.onnx.export(..., dynamo=True)`` writes a file.
    """
    return torch.onnx.is_in_onnx_export() or transformed()


def transformed() -> bool:
    """Whether a transformation of torch.func (grad, vmap, jvp ...) or forward-mode differentiation
    is under way.

    False inside torch.compile, which cannot ask.
    """
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
