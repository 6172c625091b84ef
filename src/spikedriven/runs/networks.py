"""The network that a recipe names: one of ours, or one of timm's (`timm/NAME`), e.g. a teacher."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm
from torch import nn

from spikedriven.data import DataConfig, EventDataConfig, SegmentationDataConfig
from spikedriven.errors import RecipeError, SpikedrivenError, did_you_mean
from spikedriven.models import create_model
from spikedriven.models.detection import create_detector
from spikedriven.models.segmentation import SEGMENTERS, Segmenter, create_segmenter
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.recipes.types import ModelConfig, Recipe

TIMM = "timm/"


def network_of(recipe: Recipe) -> nn.Module:
    """The network of a complete recipe, freshly initialised; needs no data."""
    if recipe.task not in NETWORKS:
        raise RecipeError(
            f"task: expected one of {', '.join(sorted(NETWORKS))}, found {recipe.task!r}"
        )
    return NETWORKS[recipe.task](recipe)


def _classifier(recipe: Recipe) -> nn.Module:
    """`in_chans` and `img_size` are those of the data."""
    tet, name = recipe.loss.tet, recipe.model.name
    ours = {} if name.startswith(TIMM) and not tet else {"output": "per_step" if tet else "mean"}
    return build_network(recipe.model, recipe.data, **ours)


def _masked(recipe: Recipe) -> nn.Module:
    model = build_network(recipe.model, recipe.data)
    if not isinstance(model, SpikeMAE):
        raise RecipeError(
            f"model.name: pre-training is for spike_mae models, found {recipe.model.name}"
        )
    return model


@contextmanager
def explain_arguments(model: ModelConfig) -> Iterator[None]:
    """Turn what wrong values of `model.args` make a constructor raise into a RecipeError."""
    try:
        yield
    except SpikedrivenError:
        raise
    except (
        TypeError,
        ValueError,
        RuntimeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        AssertionError,
    ) as error:
        raise RecipeError(
            f"model {model.name}: it cannot be built with model.args {model.args} "
            f"({type(error).__name__}: {error})"
        ) from error


def build_network(
    model: ModelConfig, data: DataConfig | EventDataConfig, **keywords: Any
) -> nn.Module:
    """A freshly initialised network. Channels, for ours also image size and an event set's time
    steps, are those of the data.

    keywords: what the task adds, weaker than `model.args`.
    """
    keywords |= {"in_chans": data.in_chans}
    if model.num_classes is not None:
        keywords["num_classes"] = model.num_classes
    if model.name.startswith(TIMM):
        if model.time_steps is not None or "output" in keywords:
            raise RecipeError(
                f"model {model.name}: timm's networks have no time steps: no model.time_steps, no "
                "loss.tet"
            )
        return build_timm(model.name, **{**keywords, **model.args})
    if isinstance(data, EventDataConfig):
        if model.time_steps not in (None, data.time_steps):
            raise RecipeError(
                f"model.time_steps={model.time_steps}, but data.time_steps={data.time_steps}: a "
                "network takes each "
                "frame of an event set as one step; leave model.time_steps out"
            )
        keywords["time_steps"] = data.time_steps
    elif model.time_steps is not None:
        keywords["time_steps"] = model.time_steps
    with explain_arguments(model):
        return create_model(model.name, **{**keywords, "img_size": data.img_size, **model.args})


def build_timm(name: str, **keywords: Any) -> nn.Module:
    """timm.create_model of "timm/NAME". RecipeError for a name it does not know, a keyword it does
    not take, or pretrained weights that it cannot fetch.
    """
    short = name.removeprefix(TIMM)
    architecture = short.partition(".")[0]
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models())
        raise RecipeError(f"model {name}: timm has no model {architecture!r}; {hint}")
    try:
        return timm.create_model(short, **keywords)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        raise RecipeError(f"model {name} with {given}: {error}") from error


def build_detector(model: ModelConfig, data: Any) -> nn.Module:
    """The detector that a recipe's model section names; sizes and normalisation are those of
    the data.
    """
    keywords = {
        "num_classes": model.num_classes, "min_size": data.test_size, "max_size": data.max_size,
        "image_mean": data.mean, "image_std": data.std,
    }  # fmt: skip
    with explain_arguments(model):
        return create_detector(model.name, **{**keywords, **model.args})


def build_segmenter(model: ModelConfig, data: SegmentationDataConfig) -> Segmenter:
    """The recipe's network; `model.time_steps` and the image size are those of its backbone."""
    if model.name not in SEGMENTERS:
        raise RecipeError(
            f"model.name: segmentation is for {', '.join(SEGMENTERS)}, found {model.name!r}; the "
            "backbone is model.args.backbone"
        )
    steps = {} if model.time_steps is None else {"time_steps": model.time_steps}
    classes = {} if model.num_classes is None else {"num_classes": model.num_classes}
    with explain_arguments(model):
        body = {"img_size": data.img_size, **steps, **model.args.get("backbone_args", {})}
        return create_segmenter(model.name, **{**classes, **model.args, "backbone_args": body})


#: Task -> the network of its recipes.
NETWORKS: dict[str, Callable[[Recipe], nn.Module]] = {
    "classification": _classifier,
    "distillation": _classifier,
    "pretraining": _masked,
    "detection": lambda recipe: build_detector(recipe.model, recipe.data),
    "segmentation": lambda recipe: build_segmenter(recipe.model, recipe.data),
}
