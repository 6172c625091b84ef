"""Measure accuracy: of a run, or of a registered model with a checkpoint or with weights that ship.

Example:

    spikedriven eval runs/quickstart               # the newest checkpoint, on the test images
    spikedriven eval runs/quickstart/best --json
    spikedriven eval runs                          # every run in the folder, one row each
    spikedriven eval runs/quickstart/checkpoints   # every checkpoint of a run
    spikedriven eval e_spikeformer_fashion --data fashion-mnist    # with weights that ship
    spikedriven eval e_spikeformer_10m --model.args.levels 4 --checkpoint own.pth --data imagenet
    spikedriven eval sdt_8_768.in1k_288 --checkpoint authors.pth.tar --root /data
    spikedriven eval sdt_8_512.in1k --checkpoint FOLDER --root /data    # every file in it
    spikedriven eval runs/segmenter --slide 512 341 --test-scales 0.5 1 1.5 --test-flip true
    torchrun --nproc-per-node 8 -m spikedriven eval runs/big    # the images shared out

A run whose weights were averaged is evaluated with the average (--weights trained: with the trained
ones). A checkpoint of a model may have the authors' key names or ours. A tag of `spikedriven models
--files` brings data set, image size, crop, interpolation and statistics of the published figure;
options change each of them. Shown are these settings, top-1 and top-5 accuracy, recall per class
and, for up to 20 classes, the confusion matrix; of pictures with several labels mAP and F1 per
class; of a segmenter the intersection over union per class, of a detector COCO's average precision
of boxes and masks; of a masked pre-training the loss on the hidden patches and the share of their
variance that is predicted, with one fixed mask for each image.

Of a run it says which checkpoint was taken, and on which images that was chosen (RUN/best: on the
test images, unless the recipe has data.val_fraction).

Of a folder of runs, checkpoints or weights files: a table with their figures. What cannot be
evaluated is a row with the reason, and the exit status is then 1.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import nn

from spikedriven.cli.arguments import parse
from spikedriven.cli.eval_settings import with_settings
from spikedriven.cli.eval_tables import (
    Evaluation,
    of_classifier,
    of_detector,
    of_masked,
    of_segmenter,
    of_tags,
    show_sweep,
)
from spikedriven.data import build_eval_loader, with_dataset
from spikedriven.data.record import check_classes
from spikedriven.data.sections import described
from spikedriven.errors import CheckpointError, InputError, RecipeError
from spikedriven.models.authors import AUTHORS
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection import Detector
from spikedriven.models.names import class_names
from spikedriven.models.pretrained import weights_of
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import RunConfig
from spikedriven.runs.average import early_average
from spikedriven.runs.checkpoint import MANIFEST, load_run, locate_run
from spikedriven.runs.distributed import World, open_world
from spikedriven.runs.selection import Selection, selection_of
from spikedriven.runs.target import (
    AVERAGE,
    LabelledTarget,
    Loaded,
    data_config,
    given_keywords,
    is_model_name,
    load_target,
)
from spikedriven.tasks.classification import measure_accuracy
from spikedriven.tasks.detection import measure_map
from spikedriven.tasks.pretraining import MaskedError, measure_masked
from spikedriven.tasks.segmentation import inference_of, measure_overlap
from spikedriven.tasks.tags import Tags, measure_tags
from spikedriven.training.amp import autocast

WEIGHTS = (".safetensors", ".pth", ".pt", ".tar", ".bin")
_OF_ONE = ("recipe.yaml", MANIFEST)  # what a run folder, and a checkpoint folder, is known by


@dataclass(frozen=True)
class Arguments(LabelledTarget):
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """A run folder, RUN/best, a checkpoint folder of a run, a folder of runs or of checkpoints, a
    registered model name, or NAME.TAG."""
    checkpoint: Path | None = None
    """Weights for a model name: the authors' file, a file in our key names, or a folder of such
    files.
    """
    img_size: int | None = None
    """Side of the network input. Default: what the run, the tag's file or the variant was made
    for.
    """
    data: str | None = None
    """Data set. Default: the run's, or the one that the tag's file was trained on."""
    root: Path | None = None
    """Data folder. Default for a run: the run's."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set; val is what data.val_fraction sets aside."""
    crop_pct: Annotated[float | None, tyro.conf.arg(aliases=["--crop"])] = None
    """Share of the resized image that is cropped. Default: the run's, the tag's or the
    variant's.
    """
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How images are resized. Default: as for --crop-pct."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean to subtract. Default: the run's, the tag's, or the data set's."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation to divide by. Default: as for --mean."""
    resize: tuple[int, int] | None = None
    """Segmentation: images are resized to fit LONG SHORT. Default: the run's; for a name 2048
    512.
    """
    slide: tuple[int, int] | None = None
    """Segmentation: look at images in square windows, SIDE STRIDE. Default: the run's; for a
    name, whole images.
    """
    test_scales: tuple[float, ...] | None = None
    """Segmentation: average over the image in these sizes (0.5 0.75 1 1.25 1.5 1.75: the
    authors' configurations).
    """
    test_flip: bool | None = None
    """Segmentation: average over the image and its mirror image."""
    batch_size: int = 64
    workers: int = 2
    amp: Literal["none", "bf16", "fp16"] | None = None
    """Autocast. Default: as the run was trained; none for a model name."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    json: bool = False
    """Print JSON instead of tables."""


def run(argv: list[str]) -> int:
    """Parse `argv`, evaluate, print; returns 0, or 1 where something in a folder could not be
    evaluated.
    """
    arguments = parse(Arguments, argv, "eval", __doc__)
    with open_world(arguments.device) as world:
        members = members_of(arguments)
        if members:
            return _sweep(members, world, arguments.json)
        found = evaluate(arguments, world)
    if world.is_main:
        found.show(arguments.json)
    return 0


def evaluate(arguments: Arguments, world: World) -> Evaluation:
    """Evaluate one run, checkpoint or model; the processes share the samples, each sample
    counted once.
    """
    named = is_model_name(arguments.target)
    loaded, data, amp = _from_name(arguments) if named else _from_run(arguments)
    found = with_settings(_evaluated(loaded.model, data, amp, arguments, world), loaded, data)
    if named:
        return found
    selection = selection_of(arguments.target)
    return found.warned(_early(arguments, selection)).chosen(
        selection, data.dataset, arguments.split
    )


def _early(arguments: Arguments, selection: Selection) -> str:
    """Of a run whose averaged weights are evaluated before they are worth it."""
    if AVERAGE[arguments.weights] is False or selection.step is None:
        return ""
    return early_average(
        read_recipe(locate_run(Path(arguments.target))[0] / "recipe.yaml"), selection.step
    )


def _evaluated(
    model: nn.Module, data: Any, amp: str, arguments: Arguments, world: World
) -> Evaluation:
    if isinstance(model, SpikeMAE):
        seed = _mask_seed(arguments.target)
        masked = partial(_masked, seed=seed)
        return of_masked(
            _measure(model, data, amp, arguments, world, masked)[0], described(data), seed
        )
    if isinstance(model, Detector):
        return of_detector(*_measure(model, data, amp, arguments, world, _precision))
    if isinstance(model, Segmenter):
        measure = partial(measure_overlap, inference=inference_of(data))
        return of_segmenter(*_measure(model, data, amp, arguments, world, measure))
    found, classes = _measure(model, data, amp, arguments, world, measure_accuracy)
    return (of_tags if isinstance(found, Tags) else of_classifier)(found, classes, described(data))


def members_of(arguments: Arguments) -> dict[str, Arguments]:
    """What is to be evaluated, by name, where the user gave a folder of runs, checkpoints or
    weights; else nothing.
    """
    weights, target = arguments.checkpoint, Path(arguments.target)
    if weights is not None and weights != Path(AUTHORS) and weights.is_dir():
        files = sorted(path for path in weights.iterdir() if path.name.endswith(WEIGHTS))
        if not files:
            raise InputError(
                f"--checkpoint {weights}: no file in this folder ends in {', '.join(WEIGHTS)}"
            )
        return {path.name: dataclasses.replace(arguments, checkpoint=path) for path in files}
    if not target.is_dir() or any((target / name).is_file() for name in _OF_ONE):
        return {}
    inside = sorted(
        path for path in target.glob("[!.]*") if any((path / name).is_file() for name in _OF_ONE)
    )
    return {path.name: dataclasses.replace(arguments, target=str(path)) for path in inside}


def _sweep(members: dict[str, Arguments], world: World, as_json: bool) -> int:
    rows: dict[str, Evaluation | str] = {}
    for name, arguments in members.items():
        try:
            rows[name] = evaluate(arguments, world)
        except (
            CheckpointError,
            InputError,
            RecipeError,
        ) as error:  # the same at every process; a DataError is not
            rows[name] = str(error)
    if world.is_main:
        show_sweep(rows, as_json)
    return int(any(isinstance(row, str) for row in rows.values()))


def _from_run(arguments: Arguments) -> tuple[Loaded, Any, str]:
    if arguments.checkpoint is not None:
        raise InputError(
            "--checkpoint goes with a model name; of a run, give the checkpoint's folder instead "
            "of the run's"
        )
    if given_keywords(dataclasses.replace(arguments, img_size=None)):
        raise InputError(
            "what the network is (--time-steps, --num-classes, --model.args.KEY) goes with a model "
            "name; a run "
            "has that of its recipe"
        )
    model, recipe = load_run(arguments.target, ema=AVERAGE[arguments.weights])
    changes: dict[str, Any] = {
        "img_size": arguments.img_size,
        "crop_pct": arguments.crop_pct,
        "root": arguments.root,
    }
    changes |= {"dataset": arguments.data, "workers": arguments.workers}
    changes |= {
        "interpolation": arguments.interpolation,
        "mean": arguments.mean,
        "std": arguments.std,
    }
    changes |= {"split": arguments.data_split, "class_order": arguments.class_order} | _views(
        arguments
    )
    return (
        Loaded(model, True, recipe.data),
        change_data(recipe.data, changes),
        arguments.amp or recipe.run.amp,
    )


def _views(arguments: Arguments) -> dict[str, Any]:
    """How a segmenter looks at an image."""
    names = ("resize", "slide", "test_scales", "test_flip")
    return {name: getattr(arguments, name) for name in names}


def change_data(data: Any, changes: dict[str, Any]) -> Any:
    """A data configuration with other values, None for those that stay.

    InputError for a field that this kind of data has not.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    dataset = changes.pop("dataset", data.dataset)
    if dataset != data.dataset:
        data = with_dataset(data, dataset, **{k: v for k, v in changes.items() if hasattr(data, k)})
    for name, value in changes.items():
        if not hasattr(data, name):
            raise InputError(
                f"--{name.replace('_', '-')} {value}: not an option of the data set {data.dataset}"
            )
    return dataclasses.replace(data, **changes)


def _from_name(arguments: Arguments) -> tuple[Loaded, Any, str]:
    if arguments.checkpoint is None and weights_of(arguments.target) is None:
        needed = (
            "--checkpoint FILE" if "." in arguments.target else "--checkpoint FILE and --data NAME"
        )
        raise InputError(f"{arguments.target} is a model name: it needs {needed}")
    loaded = load_target(arguments)
    if not loaded.trained:
        raise InputError(
            f"the weights of {arguments.target} that ship are for the network as it is: leave "
            "--time-steps, "
            "--num-classes and --model.args.KEY out, or give --checkpoint FILE"
        )
    data = data_config(loaded, arguments, arguments.data or "", arguments.root)
    changes: dict[str, Any] = {
        "crop_pct": arguments.crop_pct,
        "interpolation": arguments.interpolation,
    }
    changes |= {
        "mean": arguments.mean,
        "std": arguments.std,
        "workers": arguments.workers,
    } | _views(arguments)
    data = change_data(data, changes)
    _check_classes(loaded.model, data, arguments)
    return loaded, data, arguments.amp or "none"


def _check_classes(model: Any, data: Any, arguments: Arguments) -> None:
    """InputError where the outputs of a classifier cannot be the classes of the data set."""
    classes = data.entry.facts.num_classes
    if isinstance(model, SpikeDrivenModel) and classes not in (None, model.num_classes):
        raise InputError(
            f"{arguments.checkpoint or arguments.target} tells {model.num_classes} classes apart, "
            "but "
            f"{data.dataset} has {classes}: evaluate it on the data set that it was trained on "
            "(--data NAME)"
        )


def _measure(
    model: nn.Module,
    data: Any,
    amp: str,
    arguments: Arguments,
    world: World,
    measure: Callable[..., Any],
) -> tuple[Any, list[str]]:
    """(what `measure` finds, names of the classes)."""
    loader: Any = build_eval_loader(
        data,
        split=arguments.split,
        batch_size=arguments.batch_size,
        rank=world.rank,
        world_size=world.size,
        as_evaluated=True,
    )
    classes, batches = list(loader.dataset.classes), loader
    if measure is measure_accuracy and loader.dataset.several_labels:
        measure = measure_tags
    if not isinstance(model, SpikeMAE):
        check_classes(class_names(model), tuple(classes), _named(data))
    if world.is_main:
        if used := loader.dataset.usage():
            Console(stderr=True).print(used, markup=False, highlight=False, soft_wrap=True)
        batches = track(loader, "evaluating", console=Console(stderr=True), transient=True)
    with torch.inference_mode(), autocast(amp, world.device):
        return measure(model.to(world.device), batches, len(classes), world), classes


def _named(data: Any) -> str:
    """What a message calls the data."""
    told = described(data)
    return told if data.root is None or str(data.root) in told else f"{told} at {data.root}"


def _mask_seed(target: str) -> int:
    """A run's own, so that figures are those of its log; of a model name what recipes have by
    default.
    """
    if is_model_name(target):
        return RunConfig().seed
    return read_recipe(locate_run(Path(target))[0] / "recipe.yaml").run.seed


def _masked(
    model: nn.Module, batches: Iterable[Any], _num_classes: int, world: World, seed: int
) -> MaskedError:
    return measure_masked(model, batches, seed, world)


def _precision(
    model: nn.Module, batches: Iterable[Any], _num_classes: int, world: World
) -> dict[str, Any]:
    return measure_map(model, batches, world, per_class=True)
