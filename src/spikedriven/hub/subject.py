"""What is published of a network: itself, how to build it again, and what was measured."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader
from spikedriven.data.sections import described
from spikedriven.errors import InputError
from spikedriven.graph.audit import AuditReport, audit
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.firing import Batches
from spikedriven.graph.measurement import measure
from spikedriven.models import SpikeDrivenModel, create_model, list_models
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.distributed import World
from spikedriven.runs.selection import selection_of
from spikedriven.tasks.classification import Accuracy, measure_accuracy

#: Test images of a run on which rates and energy are measured.
IMAGES = 256
TASKS = ("classification", "distillation")
#: Conventions on the card: arithmetic alone, as the papers count, and with memory traffic.
CONVENTIONS = ("sdt", "lemaire")


@dataclass(frozen=True)
class Published:
    """name: registered. keywords: of `create_model`, that build the network again. preparation: of
    images, in the words of timm's configuration. recipe, selection, accuracy, data: of a run, else
    None and "". energies: one report for each of `CONVENTIONS`; empty where no images were given.
    measured_on: those images, in words.
    """

    model: SpikeDrivenModel
    name: str
    keywords: dict[str, Any]
    audit: AuditReport
    preparation: dict[str, Any] = field(default_factory=dict)
    energies: tuple[EnergyReport, ...] = ()
    measured_on: str = ""
    recipe: Recipe[Any] | None = None
    selection: str = ""
    accuracy: Accuracy | None = None
    data: str = ""


def published(model: nn.Module | str | Path, images: Batches | None) -> Published:
    """Everything about a network or a run, measured. InputError for what timm cannot build
    again.
    """
    if isinstance(model, nn.Module):
        network, name, keywords = _rebuildable(model)
        energies = () if images is None else _energies(network, images)
        return Published(
            network,
            name,
            keywords,
            _audit(network),
            energies=energies,
            measured_on="the images given",
        )
    return _of_run(Path(model), images)


def _of_run(path: Path, images: Batches | None) -> Published:
    if not path.is_dir():
        raise InputError(f"{path}: no such run; give a network, or the folder of a run")
    model, recipe = load_run(path)
    network, name, keywords = _rebuildable(model)
    loader: Any = build_eval_loader(recipe.data, "test", batch_size=64)
    if recipe.task not in TASKS or getattr(loader.dataset, "several_labels", False):
        raise InputError(
            f"{path}: cards are written for classifiers of one label, found the task {recipe.task}"
        )
    classes = loader.dataset.num_classes
    cpu = World(0, 1, torch.device("cpu"))
    with torch.inference_mode():
        accuracy = measure_accuracy(network, loader, classes, cpu)
    energies = _energies(network, _some(loader) if images is None else images)
    found = f"{described(recipe.data)}, {accuracy.count:,} test images"
    return Published(
        network, name, keywords, _audit(network), _preparation(recipe.data), energies,
        f"{energies[0].measurement.images} test images" if images is None else "the images given",
        recipe, str(selection_of(path)), accuracy, found,
    )  # fmt: skip


def _rebuildable(model: Any) -> tuple[SpikeDrivenModel, str, dict[str, Any]]:
    """The network, its registered name, and the keywords that build it again."""
    name = getattr(model, "pretrained_cfg", {}).get("architecture", "")
    if not isinstance(model, SpikeDrivenModel) or name not in list_models():
        raise InputError(
            f"{type(model).__name__} is no network of create_model. Register your own as a family "
            "(docs/add_a_family.md); timm can then build it again"
        )
    keywords = {
        **getattr(model, "_model_args", {}),
        "in_chans": model.in_chans,
        "num_classes": model.num_classes,
        "img_size": list(model.img_size),
    }
    kept = {
        key: value for key, value in keywords.items() if key not in ("drop_rate", "drop_path_rate")
    }
    with torch.device("meta"):
        blank = create_model(name, **kept)
    if {k: v.shape for k, v in blank.state_dict().items()} != {
        k: v.shape for k, v in model.state_dict().items()
    }:
        raise InputError(
            f"{name}: the network was changed after create_model (quantized, folded, expanded, "
            "pruned), and timm's "
            "format holds registered networks. Save the network before, or "
            "sd.compile(...).save(path)"
        )
    return model.eval(), name, kept


def _audit(model: SpikeDrivenModel) -> AuditReport:
    return audit(model, model.example_input())


def _energies(model: SpikeDrivenModel, images: Batches) -> tuple[EnergyReport, ...]:
    measurement = measure(model, images)
    return tuple(cost(measurement, name) for name in CONVENTIONS)


def _some(loader: Any) -> Iterator[Tensor]:
    left = IMAGES
    for batch, _ in loader:
        yield batch[:left]
        left -= len(batch)
        if left <= 0:
            return


def _preparation(data: Any) -> dict[str, Any]:
    """How a run prepared its images, in the words of timm's configuration; nothing for event
    frames.
    """
    names = ("crop_pct", "interpolation", "mean", "std")
    found = {key: getattr(data, key) for key in names if getattr(data, key, None) is not None}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
