"""Recipes for data of one's own: each network builds, takes its samples and says what it is for."""

import dataclasses
from pathlib import Path

import pytest
import torch

from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.runs.networks import network_of

OWN = [name for name in list_recipes() if name.startswith("own_")]


def test_there_is_one_for_each_kind():
    kinds = {"classification", "detection", "segmentation", "events", "tags", "finetune"}
    assert {name.removeprefix("own_") for name in OWN} == kinds


@pytest.mark.parametrize("name", OWN)
def test_the_network_takes_the_samples(name: str):
    recipe = load_recipe(name)
    assert recipe.data.root is None and recipe.data.dataset in ("folder", "event-folder")
    assert "--data.root DIR" in recipe.description
    model = dataclasses.replace(recipe.model, num_classes=3)
    network = network_of(dataclasses.replace(recipe, model=model)).eval()
    example = network.example_input(1)  # type: ignore[operator]
    forward = getattr(network, getattr(network, "graph_method", "forward"))
    with torch.inference_mode():
        output = forward(example)
    assert output.isfinite().all() and recipe.schedule.epochs <= 60


def test_roots_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    data = dataclasses.replace(load_recipe("own_events").data, root=Path("mine"))
    assert data.root == tmp_path / "mine"
