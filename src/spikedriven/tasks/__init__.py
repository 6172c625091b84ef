"""What a run trains: the parts of training that differ from task to task, behind one interface."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from spikedriven.errors import RecipeError
from spikedriven.recipes.types import Recipe
from spikedriven.runs.distributed import World
from spikedriven.tasks.classification import ClassificationTask
from spikedriven.tasks.detection import DetectionTask
from spikedriven.tasks.distillation import DistillationTask
from spikedriven.tasks.pretraining import PretrainingTask
from spikedriven.tasks.segmentation import SegmentationTask


class Loader(Protocol):
    """Batches whose order and content are functions of (seed, epoch, sample) only."""

    broken_count: int
    """Images passed over so far because they could not be decoded."""

    def __len__(self) -> int:
        """Batches per epoch, the same at every process."""

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Any]:
        """The batches of `epoch` from number `start_batch` on: tensors, or tuples of tensors."""

    def usage(self) -> str:
        """How much of its files the training sees, for people; "" where that is all of them."""


class Task(Protocol):
    """`recipe` is complete (nothing left to be taken from the data) once `train_loader` was
    called.
    """

    recipe: Recipe
    metric: str
    """Which figure of `evaluate` picks the best checkpoint; larger is better."""

    def train_loader(self, rank: int, size: int) -> Loader: ...

    def build_model(self) -> nn.Module:
        """A freshly initialised model; needs a complete recipe, not the data."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Scalar mean loss over a batch."""

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        """Figures over the evaluation split, the same at every process. `model` is in eval mode."""


TASKS: dict[str, Callable[[Recipe], Task]] = {
    "classification": ClassificationTask,
    "detection": DetectionTask,
    "distillation": DistillationTask,
    "pretraining": PretrainingTask,
    "segmentation": SegmentationTask,
}


def create_task(recipe: Recipe) -> Task:
    """The task that the recipe names."""
    if recipe.task not in TASKS:
        raise RecipeError(
            f"task: expected one of {', '.join(sorted(TASKS))}, found {recipe.task!r}"
        )
    return TASKS[recipe.task](recipe)
