"""Trained weights that ship with the package: one safetensors file per name, beside it a card and
the names of its classes."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.models.names import name_classes

FOLDER = Path(__file__).parent / "weights"
#: Fields of timm's `PretrainedCfg` that say where weights are.
SOURCES = ("file", "url", "hf_hub_id", "state_dict")


def weights_of(name: str) -> Path | None:
    """The shipped weights of a registered name; None where there are none."""
    path = FOLDER / f"{name}.safetensors"
    return path if path.is_file() else None


def classes_of(name: str) -> tuple[str, ...]:
    """Names of the classes that shipped weights tell apart, by output; empty where none are
    kept.
    """
    path = FOLDER / f"{name}.classes.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()


def pretrained_names() -> list[str]:
    """Registered names that `create_model` builds with ``pretrained=True``."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def check_pretrained(name: str, cfg: Mapping[str, Any]) -> None:
    """InputError where a configuration of timm's names no weights."""
    if not any(cfg.get(key) for key in SOURCES):
        raise InputError(
            f"no trained weights of {name} ship with this package (the authors' licences forbid it "
            "or give none); "
            "build the model with pretrained=False and use spikedriven.load_official(model, path) "
            "on the authors' "
            f"file. Weights ship of: {', '.join(pretrained_names()) or 'none'}"
        )


def load_pretrained(model: nn.Module, name: str, cfg: Mapping[str, Any]) -> None:
    """Put the weights that a configuration names into a model, or into the backbone that timm's
    ``features_only`` wraps.

    cfg: as timm's `PretrainedCfg`, a dictionary; timm reads its ``file``, ``url``, ``state_dict``,
    local folder or repository. A classifier for other classes keeps its random start, and a first
    convolution for other channels gets the sum or the repetition of the weights, as in timm. All
    else is strict: InputError where keywords gave the model other shapes.
    """
    network: Any = getattr(model, "model", model)
    plain = {**cfg, "first_conv": None, "classifier": None, "input_size": (3, 224, 224)}
    timm.models.load_pretrained(
        network, plain, filter_fn=partial(_fitted, name, cfg, network is model)
    )
    labels = cfg.get("label_names") or ()
    if len(labels) == network.num_classes:
        name_classes(network, labels)


def _fitted(
    name: str, cfg: Mapping[str, Any], whole: bool, weights: dict[str, Tensor], network: Any
) -> dict[str, Tensor]:
    """The state dict of the network with the weights in it. whole: weights that the network
    lacks are an error.
    """
    own = network.state_dict()
    head = (
        tuple(f"{key}." for key in _classifiers(network))
        if network.num_classes != cfg.get("num_classes")
        else ()
    )
    first = f"{cfg.get('first_conv')}.weight"
    found = dict(own)
    for key, value in own.items():
        if key.startswith(head or "\0"):
            continue
        given = weights.get(key)
        if given is not None and key == first and given.shape[1] != value.shape[1]:
            given = for_channels(given, value.shape[1])
        if given is None or given.shape != value.shape:
            raise InputError(_differs(name, key))
        found[key] = given
    left = [key for key in weights if key not in own and not key.startswith("head")]
    if left and whole:
        raise InputError(_differs(name, left[0]))
    return found


def _differs(name: str, key: str) -> str:
    return (
        f"the trained weights of {name} are for its own widths; {key} differs. Leave the keywords "
        "out "
        "that change them (num_classes and in_chans may be changed), or build it with "
        "pretrained=False"
    )


def _classifiers(network: Any) -> list[str]:
    """Qualified names of the classifier, or of both of a distilled model."""
    heads = network.get_classifier()
    modules = heads if isinstance(heads, tuple) else (heads,)
    return [key for key, module in network.named_modules() if any(module is one for one in modules)]


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """The weights [out, in, H, W] of a first convolution for another number of channels, as timm
    has it: for one channel their sum, else their repetition, scaled so that a grey image gives what
    it gave before.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    known = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // known), 1, 1)[:, :channels]
    return repeated * (known / channels)
