"""Networks and recipes as the lists show them, from the objects themselves. It imports torch."""

from collections.abc import Collection
from typing import Any

import torch

from spikedriven.cli.entries import Network, Recipe
from spikedriven.models import create_model, list_models, variant_of
from spikedriven.recipes import load_recipe


def described_networks(besides: Collection[str] = ()) -> list[Network]:
    """All registered networks but those that are named."""
    return [describe(name) for name in list_models() if name not in besides]


def describe(name: str) -> Network:
    """Build the network without memory for its weights, and read its figures."""
    with torch.device("meta"):
        model: Any = create_model(name)
    events, variant = model.input_layout == "events", variant_of(name)
    channels, height, width = variant.input_size
    return Network(
        name=name,
        parameters=sum(p.numel() for p in model.parameters()),
        time_steps=model.example_input().shape[1] if events else model.time_steps,
        input=f"{'event frames' if events else 'image'} {channels}x{height}x{width}",
        published=variant.published,
        source=variant.source,
    )


def described_recipe(name: str) -> Recipe:
    """Read the recipe, with its base and all defaults."""
    recipe = load_recipe(name)
    epochs = recipe.schedule.total_epochs
    return Recipe(name, recipe.data.dataset, epochs, recipe.description)
