"""Names of the classes that a network tells apart, kept with the network."""

from collections.abc import Sequence
from typing import Any

from torch import nn

#: The key of exported files' metadata, which holds a JSON list.
CLASSES = "classes"


def name_classes(model: nn.Module, names: Sequence[str], several: bool = False) -> None:
    """From now on `class_names` knows them; exporters write them into their files.

    several: an input may have any number of the labels, so that outputs are read one by one.
    """
    model.class_names = tuple(names)  # type: ignore[assignment]  # plain attributes, no modules
    model.several_labels = several  # type: ignore[assignment]


def class_names(model: Any) -> tuple[str, ...]:
    """By output, of a detector by label - 1; empty where nobody has named them."""
    return tuple(getattr(model, "class_names", ()))


def has_several_labels(model: Any) -> bool:
    """Whether the network was trained on inputs with any number of labels."""
    return bool(getattr(model, "several_labels", False))
