"""What a page is about: a run, a registered network or one of the caller's own; and the data to
measure on.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader, find_set, with_dataset
from spikedriven.data.record import check_classes
from spikedriven.errors import InputError
from spikedriven.graph.calibrate import calibrate
from spikedriven.graph.firing import Batches, each_batch
from spikedriven.graph.forms import Form
from spikedriven.graph.inputs import Inputs, graphed_method, inputs_taken
from spikedriven.graph.trace import as_graphed
from spikedriven.models import variant_of
from spikedriven.models.names import class_names
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import locate_run
from spikedriven.runs.selection import Selection, selection_of
from spikedriven.runs.target import (
    LabelledTarget,
    data_config,
    is_model_name,
    load_target,
    random_batch,
)

#: Samples of noise to measure on where there are no images.
NOISE = 4


@dataclass(frozen=True)
class Measured(LabelledTarget):
    """A network, and the images to measure how it fires on."""

    data: str | None = None
    """Data set. Default: a run's own; for a model name none, so that rates are measured on
    random input.
    """
    root: Path | None = None
    """Data folder."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set."""
    images: int = 256
    """Firing rates and energy are measured on at most so many images, evenly spaced; 0: all."""
    batch_size: int = 50

    def __post_init__(self) -> None:
        self._check_counts("images")
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")

    def _check_counts(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 0:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} {getattr(self, name)}: expected 0 or more")


@dataclass(frozen=True)
class Request(Measured):
    """What to report on, and how much to measure."""

    accuracy_images: int = 2000
    """Accuracy is measured on at most so many images, evenly spaced over the split; 0: all."""
    samples: int = 12
    """Predictions shown: half of them right, half wrong, where there are so many."""
    maps: int = 2
    """Samples whose attention maps are shown."""
    form: Form | None = None
    """The network whose energy is counted: released, folded or expanded. Default: folded where that
    changes a weight layer, else released.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_counts("accuracy_images", "samples", "maps")


Asked = TypeVar("Asked", bound=Measured)


@dataclass(frozen=True)
class Subject(Generic[Asked]):
    """model: in evaluation mode. trained: not random weights. run, checkpoint, recipe: of a run,
    else None. data: labelled images to measure on, or None: measured on `given`, else on `noise`.
    given: of a network that the caller handed in, the batches that came with it. selection: why
    this checkpoint, of a run. notes: what a reader must know first.
    """

    request: Asked
    model: Any
    trained: bool
    data: Any
    run: Path | None = None
    checkpoint: Path | None = None
    recipe: Recipe | None = None
    selection: Selection | None = None
    noise: Tensor | None = None
    given: Batches | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run's folder, or the network's name."""
        return self.request.target if self.run is None else self.run.resolve().name

    @property
    def network(self) -> str:
        return self.request.target if self.recipe is None else self.recipe.model.name

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why figures on this page give no grounds for a verdict."""
        found = {"random weights": not self.trained, "random input": self.noise is not None}
        return tuple(doubt for doubt, holds in found.items() if holds)


def open_subject(request: Asked) -> Subject[Asked]:
    """Load the network and find its data; random weights get batch norm statistics of what they
    are measured on.
    """
    named = is_model_name(request.target)
    unsaid = request.num_classes is None and request.checkpoint is None
    if named and unsaid and request.data is not None and has_classes(request.target):
        classes = find_set(request.data).facts.num_classes
        if (
            classes != variant_of(request.target).num_classes
        ):  # else the weights that ship still fit
            request = dataclasses.replace(request, num_classes=classes)
    loaded = load_target(request)
    subject = Subject(request, loaded.model, loaded.trained, _data(loaded, request))
    if not named:
        run, checkpoint = locate_run(Path(request.target))
        recipe = read_recipe(run / "recipe.yaml")
        selection = selection_of(request.target)
        subject = dataclasses.replace(
            subject, run=run, checkpoint=checkpoint, recipe=recipe, selection=selection
        )
    return _with_notes(subject)


def subject_of(model: nn.Module, given: Batches) -> Subject[Request]:
    """A network of the caller's own, measured on the batches that came with it; its weights
    stay as they are.
    """
    if isinstance(given, Iterator):
        given = list(given)  # each measurement reads them
    note = (
        "A network handed in from Python: rates and energies were measured on the batches that "
        "came with it."
    )
    return Subject(Request(type(model).__name__), model, True, None, given=given, notes=(note,))


def has_classes(name: str) -> bool:
    """Whether a registered network tells classes apart; one for masked pre-training does not."""
    return variant_of(name).num_classes is not None


def refuse_pretraining(model: nn.Module, name: str) -> None:
    """InputError for a network that hides most of its input at random and has no classes."""
    if isinstance(model, SpikeMAE):
        raise InputError(
            f"{name} is a network for masked pre-training: it hides most of each image at random "
            "and has no classes. "
            "Look at the classifier that is fine-tuned from it instead"
        )


def _data(loaded: Any, request: Measured) -> Any:
    if loaded.data is None and request.data is None:
        return None
    data = data_config(loaded, request, request.data or "", request.root)
    data = with_dataset(data, request.data or data.dataset)
    return dataclasses.replace(data, root=request.root or data.root)


def _with_notes(subject: Subject[Asked]) -> Subject[Asked]:
    notes, noise = [], None
    if isinstance(subject.model, SpikeMAE):
        notes.append(
            "Masked pre-training: firing rates, energy and the addition-only check are those of "
            "the encoder on whole "
            "images, which is what a classifier starts from. The decoder is an ordinary float "
            "network and not counted."
        )
    if subject.data is None:
        noise = random_batch(subject.model, NOISE)
        notes.append(
            f"Random input: rates and energies were measured on {NOISE} samples of noise, not on "
            "images."
        )
    if not subject.trained:
        batch = noise if noise is not None else first_batch(subject)
        calibrate(subject.model, batch)
        notes.insert(
            0,
            "Random weights: no checkpoint was given. Rates, energies and maps show what the "
            "architecture does "
            "(batch norms set to the statistics of the input), not what a trained network does.",
        )
    return dataclasses.replace(subject, noise=noise, notes=tuple(notes))


def first_batch(subject: Subject[Any]) -> Tensor:
    return next(iter(open_loader(subject, NOISE)))[0]


def open_loader(subject: Subject[Any], most: int, **options: Any) -> Any:
    """A loader over at most `most` images (0: all) of the split, evenly spaced, since many sets are
    sorted by class.

    options: more keywords of the loader.
    """
    assert subject.data is not None
    request = subject.request
    options = {"batch_size": request.batch_size, **options}
    loader: Any = build_eval_loader(subject.data, request.split, **options)
    if not isinstance(subject.model, SpikeMAE):
        check_classes(
            class_names(subject.model), tuple(loader.dataset.classes), subject.data.dataset
        )
    every = -(-len(loader.dataset) // most) if most else 1
    return (
        loader
        if every == 1
        else build_eval_loader(subject.data, request.split, **options, world_size=every)
    )


def batches(subject: Subject[Any]) -> Iterator[tuple[Inputs, Tensor | None]]:
    """(input, labels) to measure rates on; noise has no labels, and those of given batches are
    not read.
    """
    if subject.given is not None:
        taken = inputs_taken(graphed_method(subject.model))
        yield from ((batch, None) for batch in each_batch(subject.given, taken))
    elif subject.noise is not None:
        yield subject.noise, None
    else:
        yield from open_loader(subject, subject.request.images)


def logits(model: Any, batch: Tensor) -> Tensor:
    """[B, K], per-step outputs averaged; of a detector the flat outputs of all its layers."""
    with torch.no_grad(), as_graphed(model):
        output = model(batch)
    return output.mean(0) if output.ndim == 3 else output
