"""Parameters that a release creates, saves and counts, but never uses."""

import torch
from torch import nn


class UnusedParameters(nn.ParameterDict):
    """Holds them, so that parameter counts and checkpoints agree with the release. Frozen: they get no gradient."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__(
            {
                name: nn.Parameter(tensor.clone(), requires_grad=False)
                for name, tensor in tensors.items()
            }
        )
