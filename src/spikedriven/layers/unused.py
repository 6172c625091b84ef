"""Parameters that a release creates, saves and counts, but never uses."""

import torch
from torch import nn


class UnusedParameters(nn.ParameterDict):
    """Holds them, so that parameter counts and checkpoints agree with the release. Frozen: they
    get no gradient.
    """

    def __init__(self, **tensors: torch.Tensor) -> None:
        frozen = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        super().__init__(
            {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in frozen.items()}
        )
