"""Detection: boxes, and masks where the network has them; the loss is torchvision's, the figures are COCO's.

box_map and segm_map: average precision over IoU 0.5 .. 0.95 and all classes, box_map50: at IoU 0.5; all in 0..1, over
the whole test part (COCO: val2017, as everybody reports it).
"""

import dataclasses
import importlib
from typing import Any

from torch import Tensor, nn

from spikedriven.data.detection import build_detection_eval_loader, build_detection_train_loader
from spikedriven.errors import InputError, RecipeError
from spikedriven.models.detection import create_detector
from spikedriven.tasks.networks import explain_arguments
from spikedriven.training.config import LossConfig, ModelConfig, Recipe
from spikedriven.training.distributed import World, gather


class DetectionTask:
    metric = "box_map"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        if recipe.loss != LossConfig():
            raise RecipeError("loss: detectors bring their own losses; leave the section out")
        if recipe.model.time_steps is not None:
            raise RecipeError(
                "model.time_steps: of a detector's backbone; use model.args.backbone_args.time_steps"
            )

    def train_loader(self, rank: int, size: int) -> Any:
        """Training batches (list of images, list of targets). Asks for the packages of the evaluation before hours of
        training."""
        need_metrics()
        data, run, model = self.recipe.data, self.recipe.run, self.recipe.model
        if model.num_classes not in (None, data.num_classes):
            raise RecipeError(
                f"model.num_classes={model.num_classes}, but {data.dataset} has {data.num_classes} classes of objects; "
                "leave num_classes out, or name another data set"
            )
        model = dataclasses.replace(model, num_classes=data.num_classes)
        self.recipe = dataclasses.replace(self.recipe, model=model)
        return build_detection_train_loader(
            data, batch_size=run.batch_size, seed=run.seed, rank=rank, world_size=size
        )

    def build_model(self) -> nn.Module:
        return build_detector(self.recipe.model, self.recipe.data)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The sum of all parts."""
        images, targets = batch
        losses: dict[str, Tensor] = model(images, targets)
        return sum(losses.values(), start=images[0].new_zeros(()))

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        loader = build_detection_eval_loader(
            self.recipe.data,
            batch_size=self.recipe.run.batch_size,
            rank=world.rank,
            world_size=world.size,
        )
        found = measure_map(model, loader, world)
        return {
            name: found[name]
            for name in ("box_map", "box_map50", "segm_map", "segm_map50")
            if name in found
        }


def build_detector(model: ModelConfig, data: Any) -> nn.Module:
    """The detector that a recipe's model section names; sizes and normalisation are those of the data."""
    keywords = {
        "num_classes": model.num_classes, "min_size": data.test_size, "max_size": data.max_size,
        "image_mean": data.mean, "image_std": data.std,
    }  # fmt: skip
    with explain_arguments(model):
        return create_detector(model.name, **{**keywords, **model.args})


def need_metrics() -> Any:
    """torchmetrics' MeanAveragePrecision on faster-coco-eval, or an error that says how to get the two."""
    try:
        importlib.import_module("faster_coco_eval")
        return importlib.import_module("torchmetrics.detection").MeanAveragePrecision
    except ModuleNotFoundError as error:
        raise InputError(
            f"detection is evaluated by torchmetrics and faster-coco-eval ({error.name} is missing): "
            "pip install 'spikedriven[det]'"
        ) from error


def measure_map(
    model: nn.Module, loader: Any, world: World, per_class: bool = False
) -> dict[str, Any]:
    """COCO's average precision of a detector (in evaluation mode) over batches of (images, targets).

    The processes together must see each image once; each gets the figures over all images, the same for any number of
    processes. per_class: also "box_map_per_class" (and "segm_..."), a list by label, and "classes", the labels.
    """
    meter: Any = None
    for images, targets in loader:
        found = [_on_cpu(item) for item in model([image.to(world.device) for image in images])]
        if meter is None:
            meter = _new_meter(("bbox", "segm") if "masks" in found[0] else ("bbox",), per_class)
        meter.update(found, [_on_cpu(target) for target in targets])
    meter = _of_all(meter, world, per_class)
    return _named(meter.compute(), kinds=meter.iou_type, per_class=per_class)


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
    """A metric with the images of all processes, in the data set's order (rank r has images r, r + size, ...).

    torchmetrics' own exchange pairs the processes' lists element by element and so needs them to be equally long.
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
