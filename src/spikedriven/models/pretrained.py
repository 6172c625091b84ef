"""Trained weights that ship with the package: one safetensors file per name, and a card beside it."""

from pathlib import Path

import safetensors.torch
from torch import nn

from spikedriven.errors import InputError

FOLDER = Path(__file__).parent / "weights"


def weights_of(name: str) -> Path | None:
    """The shipped weights of a registered name; None where there are none."""
    path = FOLDER / f"{name}.safetensors"
    return path if path.is_file() else None


def pretrained_names() -> list[str]:
    """Registered names that `create_model` builds with ``pretrained=True``."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def load_pretrained(model: nn.Module, name: str) -> None:
    """Put the shipped weights into a model, or into the backbone that timm's ``features_only`` wraps.

    InputError where none ship, or where keywords gave the model other shapes.
    """
    path = weights_of(name)
    if path is None:
        raise InputError(
            f"no trained weights of {name} ship with this package (the authors' licences forbid it or give none); "
            "build the model with pretrained=False and use spikedriven.load_official(model, path) on the authors' "
            f"file. Weights ship of: {', '.join(pretrained_names()) or 'none'}"
        )
    network = getattr(model, "model", model)
    own, weights = network.state_dict(), safetensors.torch.load_file(path)
    wrong = [key for key in own if key not in weights or own[key].shape != weights[key].shape]
    if wrong:
        raise InputError(
            f"the trained weights of {name} are for its own number of classes, channels and widths; {wrong[0]} "
            "differs. Leave those keywords out, or build it with pretrained=False"
        )
    network.load_state_dict({key: weights[key] for key in own})
