"""Measure accuracy: of a run, or of a registered model with a checkpoint.

Example:

    spikedriven eval runs/quickstart                        (the run's newest checkpoint, on its test images)
    spikedriven eval runs/quickstart/best --json
    spikedriven eval sdt_8_768 --checkpoint authors.pth.tar --data imagenet --root /data --img-size 288 --crop-pct 1.0

A run whose weights were averaged is evaluated with the average (--weights trained: with the trained ones). A checkpoint
of a model may be one of the authors' files or a .safetensors file in our key names. Shown are top-1 and top-5 accuracy,
recall per class and, for up to 20 classes, the confusion matrix; of a segmenter the intersection over union per class,
of a detector COCO's average precision of boxes and masks.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from spikedriven.data import build_eval_loader, evaluation_config, find_any_set
from spikedriven.data.detection import build_detection_eval_loader
from spikedriven.data.sections import described
from spikedriven.errors import InputError
from spikedriven.models import create_model, variant_of
from spikedriven.models.detection import Detector
from spikedriven.models.segmentation import Segmenter
from spikedriven.tasks.classification import Accuracy, measure_accuracy
from spikedriven.tasks.detection import measure_map
from spikedriven.tasks.segmentation import Overlap, measure_overlap
from spikedriven.training.amp import autocast
from spikedriven.training.checkpoint import load_run
from spikedriven.training.distributed import World, open_world
from spikedriven.training.target import is_model_name, load_file

LARGEST_MATRIX = 20
_EMA = {"auto": None, "averaged": True, "trained": False}


@dataclass(frozen=True)
class Arguments:
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """A run folder, RUN/best, a checkpoint folder of a run, or a registered model name."""
    checkpoint: Path | None = None
    """Weights for a model name: the authors' file, or .safetensors in our key names."""
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
    """Parse `argv`, evaluate, print."""
    arguments = tyro.cli(Arguments, args=argv, prog="spikedriven eval", description=__doc__)
    model, data, amp = _from_name(arguments) if is_model_name(arguments.target) else _from_run(arguments)
    if isinstance(model, Detector):
        return eval_detector(model, data, amp, arguments)
    if isinstance(model, Segmenter):
        return eval_segmenter(model, data, amp, arguments)
    with open_world(arguments.device) as world:
        result, classes = _measure(model, data, amp, arguments, world)
    if world.is_main:
        _print(result, classes, described(data), arguments.json)
    return 0


def _from_run(arguments: Arguments) -> tuple[nn.Module, Any, str]:
    if arguments.checkpoint is not None:
        raise InputError(
            "--checkpoint goes with a model name; of a run, give the checkpoint's folder instead of the run's"
        )
    if arguments.time_steps is not None:
        raise InputError("--time-steps goes with a model name; a run has those of its recipe")
    model, recipe = load_run(arguments.target, ema=_EMA[arguments.weights])
    if recipe.task == "pretraining":
        raise InputError(f"{arguments.target} is a pre-training run: it has no classes. Its figures are in log.jsonl")
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
    if arguments.checkpoint is None or arguments.data is None:
        raise InputError(f"{arguments.target} is a model name: it needs --checkpoint FILE and --data NAME")
    variant = variant_of(arguments.target)
    channels, side, _ = variant.input_size
    steps: dict[str, Any] = {} if arguments.time_steps is None else {"time_steps": arguments.time_steps}
    model: Any = create_model(
        arguments.target,
        img_size=arguments.img_size or side,
        num_classes=find_any_set(arguments.data).num_classes,
        **steps,
    )
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
    load_file(model, arguments.checkpoint)
    return model.eval(), data, arguments.amp or "none"


def _measure(
    model: nn.Module, data: Any, amp: str, arguments: Arguments, world: World, measure: Any = measure_accuracy
) -> tuple[Any, list[str]]:
    loader: Any = build_eval_loader(
        data, arguments.split, batch_size=arguments.batch_size, rank=world.rank, world_size=world.size
    )
    batches: Iterable[Any] = loader
    if world.is_main:
        batches = track(loader, "evaluating", console=Console(stderr=True), transient=True)
    with torch.inference_mode(), autocast(amp, world.device):
        result = measure(model.to(world.device), batches, loader.dataset.num_classes, world)
    return result, list(loader.dataset.classes)


def eval_detector(model: nn.Module, data: Any, amp: str, arguments: Arguments) -> int:
    """Average precision of a detection run, overall and per class."""
    with open_world(arguments.device) as world:
        loader: Any = build_detection_eval_loader(
            data, batch_size=arguments.batch_size, rank=world.rank, world_size=world.size, split=arguments.split
        )
        batches: Iterable[Any] = loader
        if world.is_main:
            batches = track(loader, "evaluating", console=Console(stderr=True), transient=True)
        with torch.inference_mode(), autocast(amp, world.device):
            found = measure_map(model.to(world.device), batches, world, per_class=True)
    if world.is_main:
        _print_precision(found, loader.dataset.classes, arguments.json)
    return 0


def _print_precision(found: dict[str, Any], classes: Sequence[str], as_json: bool) -> None:
    figures = {name: value for name, value in found.items() if isinstance(value, float)}
    kinds = [kind for kind in ("box", "segm") if f"{kind}_map" in found]
    columns = [found[f"{kind}_map_per_class"] for kind in kinds]
    rows = {classes[label - 1]: row for label, *row in zip(found["classes"], *columns, strict=True)}
    if as_json:
        per_class = {name: dict(zip(kinds, row, strict=True)) for name, row in rows.items()}
        print(json.dumps({**figures, "map_per_class": per_class}, indent=1))
        return
    console = Console()
    console.print("   ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    table = Table("class", *(f"{kind} mAP" for kind in kinds), title="average precision per class, IoU 0.5 to 0.95")
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.3f}" for value in row))
    console.print(table)


def eval_segmenter(model: nn.Module, data: Any, amp: str, arguments: Arguments) -> int:
    """Mean and per-class intersection over union of a segmentation run, whole images."""
    with open_world(arguments.device) as world:
        result, classes = _measure(model, data, amp, arguments, world, measure_overlap)
    if world.is_main:
        _print_overlap(result, classes, arguments.json)
    return 0


def _print_overlap(result: Overlap, classes: list[str], as_json: bool) -> None:
    figures = {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy, "loss": result.loss}
    ious, recalls = result.iou().tolist(), result.recall().tolist()
    if as_json:
        known = {name: None if value != value else value for name, value in zip(classes, ious, strict=True)}
        print(json.dumps({**figures, "images": result.images, "iou": known}, indent=1))
        return
    table = Table("class", "pixels", "IoU %", "recall %", title="intersection over union per class")
    for name, pixels, iou, recall in zip(classes, result.confusion.sum(1).tolist(), ious, recalls, strict=True):
        table.add_row(name, f"{pixels:,}", f"{iou:.1f}", f"{recall:.1f}")
    console = Console()
    console.print(
        f"mIoU {result.miou:.2f} %   pixel accuracy {result.pixel_accuracy:.2f} %   cross entropy {result.loss:.4f}   "
        f"{result.images} images"
    )
    console.print(table)


def _print(result: Accuracy, classes: list[str], origin: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"data": origin, **_record(result, classes)}, indent=1))
        return
    console = Console()
    console.print(f"data: {origin}, {result.count} samples")
    console.print(f"top-1 {result.top1:.2f} %   top-5 {result.top5:.2f} %   cross entropy {result.loss:.4f}")
    console.print(_per_class(result, classes))
    if len(classes) <= LARGEST_MATRIX:
        console.print(_matrix(result, classes))


def _record(result: Accuracy, classes: list[str]) -> dict[str, Any]:
    recall = result.per_class().tolist()
    return {
        "top1": result.top1,
        "top5": result.top5,
        "loss": result.loss,
        "count": result.count,
        "recall": {name: None if value != value else value for name, value in zip(classes, recall, strict=True)},
        "confusion": result.confusion.tolist(),
    }


def _per_class(result: Accuracy, classes: list[str]) -> Table:
    table = Table("class", "images", "recall %", title="recall per class")
    for name, count, recall in zip(classes, result.confusion.sum(1).tolist(), result.per_class().tolist(), strict=True):
        table.add_row(name, str(count), f"{recall:.1f}")
    return table


def _matrix(result: Accuracy, classes: list[str]) -> Table:
    table = Table("", *(str(i) for i in range(len(classes))), title="rows: true class, columns: predicted class")
    for index, (name, row) in enumerate(zip(classes, result.confusion.tolist(), strict=True)):
        table.add_row(f"{index} {name}", *(str(count) if count else "." for count in row))
    return table
