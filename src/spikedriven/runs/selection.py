"""On which images a run chose its best checkpoint, told with every figure of that checkpoint.

A run evaluates while it trains and marks the checkpoint with the highest figure: RUN/best. It
evaluates the images that ``data.val_fraction`` sets aside from training, or the test images where
the recipe sets none aside, as the releases do. A figure of RUN/best on the images that chose it is
a maximum over all evaluations, so it is higher than new images would give.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from spikedriven.recipes.reading import read_recipe
from spikedriven.runs.checkpoint import CheckpointStore, locate_run

Split = Literal["val", "test"]
OPTIMISTIC = (
    "Figures of the same images are optimistic: the highest of several was taken. "
    "To choose on other images, train with data.val_fraction."
)


def evaluation_split(data: Any) -> Split:
    """The part of a data section's set that a run evaluates while it trains: what is held out, or a
    part of its own for validation, else the test part."""
    return "val" if data.val_fraction or data.has_val_part() else "test"


def evaluated_on(data: Any) -> dict[str, str]:
    """The images whose figures choose the best checkpoint: data set and split."""
    return {"dataset": data.dataset, "split": evaluation_split(data)}


@dataclass(frozen=True)
class Selection:
    """Why a checkpoint is the one that is used.

    step: of the checkpoint; None for a folder that was renamed. how: "best", the one that the run
    marked; "newest", the last that it wrote; "named", another one that the user named. Of "best"
    only: metric, whose highest value it had; dataset and split, the images it was measured on;
    evaluations, among how many it was the best (None: not on record).
    """

    step: int | None
    how: Literal["best", "newest", "named"]
    metric: str = ""
    dataset: str = ""
    split: str = ""
    evaluations: int | None = None

    def optimistic_on(self, dataset: str, split: str) -> bool:
        """Whether a figure on this split is the highest of several on the same images."""
        same = (self.dataset, self.split) == (dataset, split)
        return self.how == "best" and same and self.evaluations != 1

    def __str__(self) -> str:
        step = "This checkpoint" if self.step is None else f"Step {self.step}"
        if self.how != "best":
            why = (
                "the newest of the run" if self.how == "newest" else "one of the run's checkpoints"
            )
            return f"{step}, {why}: it was not chosen by any figure"
        of = "several" if self.evaluations is None else str(self.evaluations)
        plural = "" if self.evaluations == 1 else "s"
        why = f"the highest {self.metric} of {of} evaluation{plural}"
        return f"{step}, chosen on {self._images()}: {why}"

    def _images(self) -> str:
        if self.split == "test":
            return f"the test images of {self.dataset}"
        return f"images of {self.dataset} that data.val_fraction sets aside from training"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _same(folder: Path, other: Path | None) -> bool:
    return other is not None and folder.resolve() == other.resolve()


def selection_of(path: str | Path) -> Selection:
    """Of a run folder (its newest checkpoint), RUN/best, or one checkpoint folder of a run.

    What a run of an earlier version did not write down follows from its recipe.
    """
    run, folder = locate_run(Path(path))
    store, number = CheckpointStore(run), folder.name.removeprefix("step_")
    step = int(number) if number.isdecimal() else None
    if Path(path).resolve() == run.resolve():
        return Selection(step, "newest")
    if not _same(folder, store.best()):
        newest = next(iter(store.paths()), None)
        return Selection(step, "newest" if _same(folder, newest) else "named")
    mark, data = store.mark(), read_recipe(run / "recipe.yaml").data
    return Selection(
        step=step,
        how="best",
        metric=mark["metric"],
        evaluations=mark.get("evaluations"),
        **{key: mark.get(key, value) for key, value in evaluated_on(data).items()},
    )
