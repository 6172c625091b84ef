"""Measure accuracy: of a run, or of a registered model with a checkpoint or with weights that ship.

Example:

    spikedriven eval runs/quickstart                        (the run's newest checkpoint, on its test images)
    spikedriven eval runs/quickstart/best --json
    spikedriven eval sdt_8_768 --checkpoint authors.pth.tar --data imagenet --root /data --img-size 288 --crop-pct 1.0
    spikedriven eval e_spikeformer_fashion --data fashion-mnist    (with the weights that ship with this package)
    spikedriven eval runs                                   (every run in the folder, one row each)
    spikedriven eval runs/quickstart/checkpoints --json     (every checkpoint of a run)
    spikedriven eval sdt_8_512 --checkpoint FOLDER --data imagenet --root /data    (every weights file in the folder)
    torchrun --nproc-per-node 8 -m spikedriven eval runs/big    (the images shared out, each counted once)

A run whose weights were averaged is evaluated with the average (--weights trained: with the trained ones). A checkpoint
of a model may be one of the authors' files or a .safetensors file in our key names. Shown are top-1 and top-5 accuracy,
recall per class and, for up to 20 classes, the confusion matrix; of a segmenter the intersection over union per class,
of a detector COCO's average precision of boxes and masks; of a masked pre-training the loss on the hidden patches and
the share of their variance that is predicted, with one fixed mask for each image.

Of a run it says which checkpoint was taken, and on which images that was chosen (RUN/best: on the test images, unless
the recipe has data.val_fraction).

Of a folder of runs, checkpoints or weights files: a table with their figures. What cannot be evaluated is a row with
the reason, and the exit status is then 1.
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

from spikedriven.cli.eval_tables import (
    Evaluation,
    of_classifier,
    of_detector,
    of_masked,
    of_segmenter,
    show_sweep,
)
from spikedriven.data import build_eval_loader, evaluation_config, find_any_set
from spikedriven.data.detection import build_detection_eval_loader
from spikedriven.data.sections import described
from spikedriven.errors import CheckpointError, InputError, RecipeError
from spikedriven.models import create_model, variant_of
from spikedriven.models.detection import Detector
from spikedriven.models.pretrained import weights_of
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.tasks.classification import measure_accuracy
from spikedriven.tasks.detection import measure_map
from spikedriven.tasks.pretraining import MaskedError, measure_masked
from spikedriven.tasks.segmentation import measure_overlap
from spikedriven.training.amp import autocast
from spikedriven.training.checkpoint import MANIFEST, load_run, locate_run
from spikedriven.training.config import RunConfig
from spikedriven.training.distributed import World, open_world
from spikedriven.training.recipe_io import read_recipe
from spikedriven.training.selection import selection_of
from spikedriven.training.target import is_model_name, load_file

WEIGHTS = (".safetensors", ".pth", ".pt", ".tar", ".bin")
_OF_ONE = ("recipe.yaml", MANIFEST)  # what a run folder, and a checkpoint folder, is known by
_EMA = {"auto": None, "averaged": True, "trained": False}


@dataclass(frozen=True)
class Arguments:
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """A run folder, RUN/best, a checkpoint folder of a run, a folder of runs or of checkpoints, or a registered model
    name."""
    checkpoint: Path | None = None
    """Weights for a model name: the authors' file, .safetensors in our key names, or a folder of such files."""
    data: str | None = None
    """Data set. Default for a run: the run's."""
    root: Path | None = None
    """Data folder. Default for a run: the run's."""
    split: Literal["test", "val", "train"] = "test"
    """Part of the data set; val is what data.val_fraction sets aside."""
    img_size: int | None = None
    """Side of the network input. Default: what the run, or the variant, was made for."""
    crop_pct: Annotated[float | None, tyro.conf.arg(aliases=["--crop"])] = None
    """Share of the resized image that is cropped. Default: the run's, or the variant's."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean to subtract. Default: the run's, or the data set's (Spikingformer's CIFAR-100 file was trained
    with CIFAR-10's: --mean 0.4914 0.4822 0.4465 --std 0.2470 0.2435 0.2616)."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation to divide by. Default: as for --mean."""
    time_steps: int | None = None
    """Time steps of a model given by name."""
    batch_size: int = 64
    workers: int = 2
    weights: Literal["auto", "averaged", "trained"] = "auto"
    """Which weights of a run. auto: the average, if the run kept one."""
    amp: Literal["none", "bf16", "fp16"] | None = None
    """Autocast. Default: as the run was trained; none for a model name."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    json: bool = False
    """Print JSON instead of tables."""


def run(argv: list[str]) -> int:
    """Parse `argv`, evaluate, print; returns 0, or 1 where something in a folder could not be evaluated."""
    arguments = tyro.cli(Arguments, args=argv, prog="spikedriven eval", description=__doc__)
    with open_world(arguments.device) as world:
        members = members_of(arguments)
        if members:
            return _sweep(members, world, arguments.json)
        found = evaluate(arguments, world)
    if world.is_main:
        found.show(arguments.json)
    return 0


def evaluate(arguments: Arguments, world: World) -> Evaluation:
    """Evaluate one run, checkpoint or model; the processes share the samples, each sample counted once."""
    if is_model_name(arguments.target):
        return _evaluated(*_from_name(arguments), arguments, world)
    model, data, amp = _from_run(arguments)
    found = _evaluated(model, data, amp, arguments, world)
    return found.chosen(selection_of(arguments.target), data.dataset, arguments.split)


def _evaluated(model: nn.Module, data: Any, amp: str, arguments: Arguments, world: World) -> Evaluation:
    if isinstance(model, SpikeMAE):
        seed = _mask_seed(arguments.target)
        measure = partial(_masked, seed=seed)
        return of_masked(_measure(model, data, amp, arguments, world, measure)[0], described(data), seed)
    if isinstance(model, Detector):
        return of_detector(*_measure(model, data, amp, arguments, world, _precision, build_detection_eval_loader))
    if isinstance(model, Segmenter):
        return of_segmenter(*_measure(model, data, amp, arguments, world, measure_overlap))
    return of_classifier(*_measure(model, data, amp, arguments, world, measure_accuracy), described(data))


def members_of(arguments: Arguments) -> dict[str, Arguments]:
    """What is to be evaluated, by name, where the user gave a folder of runs, checkpoints or weights; else nothing."""
    weights, target = arguments.checkpoint, Path(arguments.target)
    if weights is not None and weights.is_dir():
        files = sorted(path for path in weights.iterdir() if path.name.endswith(WEIGHTS))
        if not files:
            raise InputError(f"--checkpoint {weights}: no file in this folder ends in {', '.join(WEIGHTS)}")
        return {path.name: dataclasses.replace(arguments, checkpoint=path) for path in files}
    if not target.is_dir() or any((target / name).is_file() for name in _OF_ONE):
        return {}
    inside = sorted(path for path in target.glob("[!.]*") if any((path / name).is_file() for name in _OF_ONE))
    return {path.name: dataclasses.replace(arguments, target=str(path)) for path in inside}


def _sweep(members: dict[str, Arguments], world: World, as_json: bool) -> int:
    rows: dict[str, Evaluation | str] = {}
    for name, arguments in members.items():
        try:
            rows[name] = evaluate(arguments, world)
        except (CheckpointError, InputError, RecipeError) as error:  # the same at every process; a DataError is not
            rows[name] = str(error)
    if world.is_main:
        show_sweep(rows, as_json)
    return int(any(isinstance(row, str) for row in rows.values()))


def _from_run(arguments: Arguments) -> tuple[nn.Module, Any, str]:
    if arguments.checkpoint is not None:
        raise InputError(
            "--checkpoint goes with a model name; of a run, give the checkpoint's folder instead of the run's"
        )
    if arguments.time_steps is not None:
        raise InputError("--time-steps goes with a model name; a run has those of its recipe")
    model, recipe = load_run(arguments.target, ema=_EMA[arguments.weights])
    changes: dict[str, Any] = {"img_size": arguments.img_size, "crop_pct": arguments.crop_pct, "root": arguments.root}
    changes |= {"dataset": arguments.data, "workers": arguments.workers}
    changes |= {"mean": arguments.mean, "std": arguments.std}
    return model, change_data(recipe.data, changes), arguments.amp or recipe.run.amp


def change_data(data: Any, changes: dict[str, Any]) -> Any:
    """A data configuration with other values, None for those that stay.

    InputError for a field that this kind of data has not.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if not hasattr(data, name):
            raise InputError(f"--{name.replace('_', '-')} {value}: not an option of the data set {data.dataset}")
    return dataclasses.replace(data, **changes)


def _from_name(arguments: Arguments) -> tuple[nn.Module, Any, str]:
    ships = arguments.checkpoint is None and weights_of(arguments.target) is not None
    if arguments.data is None or (arguments.checkpoint is None and not ships):
        needed = "--data NAME" if ships else "--checkpoint FILE and --data NAME"
        raise InputError(f"{arguments.target} is a model name: it needs {needed}")
    variant = variant_of(arguments.target)
    channels, side, _ = variant.input_size
    given = {"time_steps": arguments.time_steps, "num_classes": find_any_set(arguments.data).num_classes}
    keywords: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    model: Any = create_model(arguments.target, pretrained=ships, img_size=arguments.img_size or side, **keywords)
    data = evaluation_config(
        arguments.data,
        root=arguments.root,
        img_size=arguments.img_size or side,
        in_chans=channels,
        time_steps=model.time_steps,
        crop_pct=arguments.crop_pct or variant.crop_pct,
        workers=arguments.workers,
    )
    data = change_data(data, {"mean": arguments.mean, "std": arguments.std})
    if arguments.checkpoint is not None:
        load_file(model, arguments.checkpoint)
    return model.eval(), data, arguments.amp or "none"


def _measure(
    model: nn.Module, data: Any, amp: str, arguments: Arguments, world: World, measure: Callable[..., Any],
    build: Callable[..., Any] | None = None,
) -> tuple[Any, list[str]]:  # fmt: skip
    """(what `measure` finds, names of the classes). build: of the loader; None: the usual one."""
    loader: Any = (build or build_eval_loader)(
        data, split=arguments.split, batch_size=arguments.batch_size, rank=world.rank, world_size=world.size
    )
    classes, batches = list(loader.dataset.classes), loader
    if world.is_main:
        batches = track(loader, "evaluating", console=Console(stderr=True), transient=True)
    with torch.inference_mode(), autocast(amp, world.device):
        return measure(model.to(world.device), batches, len(classes), world), classes


def _mask_seed(target: str) -> int:
    """A run's own, so that figures are those of its log; of a model name what recipes have by default."""
    if is_model_name(target):
        return RunConfig().seed
    return read_recipe(locate_run(Path(target))[0] / "recipe.yaml").run.seed


def _masked(model: nn.Module, batches: Iterable[Any], _num_classes: int, world: World, seed: int) -> MaskedError:
    return measure_masked(model, batches, seed, world)


def _precision(model: nn.Module, batches: Iterable[Any], _num_classes: int, world: World) -> dict[str, Any]:
    return measure_map(model, batches, world, per_class=True)
