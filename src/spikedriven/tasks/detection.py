"""Detection: boxes, and masks where the network has them; the loss is torchvision's, the figures
are COCO's.

box_map and segm_map: average precision over IoU 0.5 .. 0.95 and all classes, box_map50: at IoU 0.5;
all in 0..1, over the whole test part (COCO: val2017, as everybody reports it).
"""

import importlib
from typing import Any

from torch import Tensor, nn

from spikedriven.data import create_dataset
from spikedriven.errors import InputError, RecipeError
from spikedriven.models.detection.detectors import SpikeMaskRCNN
from spikedriven.recipes.types import LossConfig, Recipe
from spikedriven.runs.distributed import World, gather
from spikedriven.runs.networks import network_of
from spikedriven.runs.selection import evaluation_split
from spikedriven.tasks.classes import evaluation_loader, train_loader, with_classes


class DetectionTask:
    metric = "box_map"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.with_masks = recipe, True
        if recipe.loss != LossConfig():
            raise RecipeError("loss: detectors bring their own losses; leave the section out")
        if recipe.model.time_steps is not None:
            raise RecipeError(
                "model.time_steps: of a detector's backbone; use "
                "model.args.backbone_args.time_steps"
            )

    def train_loader(self, rank: int, size: int) -> Any:
        """Training batches (list of images, list of targets). Asks for the packages of the
        evaluation before hours of training.
        """
        need_metrics()
        loader = train_loader(self.recipe, rank, size)
        self.recipe = with_classes(self.recipe, loader)
        self.with_masks = getattr(loader.dataset, "with_masks", True)
        create_dataset(self.recipe.data, evaluation_split(self.recipe.data))  # says what is wrong
        return loader

    def build_model(self) -> nn.Module:
        """RecipeError for a network that learns masks, where the data have none."""
        network = network_of(self.recipe)
        if isinstance(network, SpikeMaskRCNN) and not self.with_masks:
            raise RecipeError(
                f"model.name {self.recipe.model.name}: it learns masks, and the objects of "
                f"{self.recipe.data.dataset} have boxes only; use retinanet, or add masks"
            )
        return network

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The sum of all parts."""
        images, targets = batch
        losses: dict[str, Tensor] = model(images, targets)
        return sum(losses.values(), start=images[0].new_zeros(()))

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        loader = evaluation_loader(self.recipe, world)
        found = measure_map(model, loader, world)
        return {
            name: found[name]
            for name in ("box_map", "box_map50", "segm_map", "segm_map50")
            if name in found
        }


def need_metrics() -> Any:
    """torchmetrics' MeanAveragePrecision on faster-coco-eval, or an error that says how to get
    the two.
    """
    try:
        importlib.import_module("faster_coco_eval")
        return importlib.import_module("torchmetrics.detection").MeanAveragePrecision
    except ModuleNotFoundError as error:
        raise InputError(
            f"detection is evaluated by torchmetrics and faster-coco-eval ({error.name} is "
            "missing): "
            "pip install 'spikedriven[det]'"
        ) from error


def measure_map(
    model: nn.Module, loader: Any, world: World, per_class: bool = False
) -> dict[str, Any]:
    """COCO's average precision of a detector (in evaluation mode) over batches of (images,
    targets).

    The processes together must see each image once; each gets the figures over all images, the same
    for any number of processes. per_class: also "box_map_per_class" (and "segm_..."), a list by
    label, and "classes", the labels; -1 stands for a class without objects. InputError where no
    image has an object.
    """
    meter: Any = None
    for images, targets in loader:
        found = [_on_cpu(item) for item in model([image.to(world.device) for image in images])]
        if meter is None:
            masks = "masks" in found[0] and "masks" in targets[0]
            meter = _new_meter(("bbox", "segm") if masks else ("bbox",), per_class)
        meter.update(found, [_on_cpu(target) for target in targets])
    meter = _of_all(meter, world, per_class)
    figures = _named(meter.compute(), kinds=meter.iou_type, per_class=per_class)
    if figures["box_map"] < 0:
        raise InputError(
            "average precision says nothing where there is no object: none of the images that were "
            "evaluated has one "
            "(crowds are none). Evaluate more images, or a part with objects"
        )
    return figures


def _new_meter(kinds: tuple[str, ...], per_class: bool) -> Any:
    return need_metrics()(
        iou_type=kinds, backend="faster_coco_eval", class_metrics=per_class, sync_on_compute=False
    )


def _on_cpu(item: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the metric reads, probabilities of masks as masks."""
    plain = {name: value.detach().cpu() for name, value in item.items()}
    if "masks" in plain:
        masks = plain["masks"]
        plain["masks"] = masks[:, 0] >= 0.5 if masks.ndim == 4 else masks.bool()
    return plain


def _of_all(meter: Any, world: World, per_class: bool) -> Any:
    """A metric with the images of all processes, in the data set's order (rank r has images r, r +
    size, ...).

    torchmetrics' own exchange pairs the processes' lists element by element and so needs them to be
    equally long.
    """
    shares = [
        share
        for share in gather(None if meter is None else (meter.iou_type, meter.metric_state), world)
        if share
    ]
    if not shares:
        raise InputError("no image came out of the loader: there is nothing to evaluate")
    merged = _new_meter(tuple(shares[0][0]), per_class)
    for name in shares[0][1]:
        setattr(merged, name, _interleaved([state[name] for _, state in shares]))
    merged._update_count = 1  # compute() warns before the first update
    return merged


def _interleaved(parts: list[list[Any]]) -> list[Any]:
    return [part[i] for i in range(max(map(len, parts))) for part in parts if i < len(part)]


def _named(result: dict[str, Tensor], kinds: tuple[str, ...], per_class: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in kinds:
        ours, prefix = {"bbox": "box", "segm": "segm"}[kind], f"{kind}_" if len(kinds) > 1 else ""
        found[f"{ours}_map"] = result[f"{prefix}map"].item()
        found[f"{ours}_map50"] = result[f"{prefix}map_50"].item()
        found[f"{ours}_map75"] = result[f"{prefix}map_75"].item()
        if per_class:
            found[f"{ours}_map_per_class"] = result[f"{prefix}map_per_class"].reshape(-1).tolist()
    if per_class:
        found["classes"] = result["classes"].reshape(-1).tolist()
    return found
