"""The device that a command line or a recipe names."""

import torch

from spikedriven.errors import InputError


def choose_device(name: str) -> str:
    """What auto, cpu or cuda means here: "cpu" or "cuda". auto is the GPU where there is one; cuda
    without is an InputError.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda: torch sees no GPU here; choose cpu, or auto")
    return name
