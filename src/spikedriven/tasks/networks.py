"""The network that a recipe names: one of ours, or one of timm's (`timm/NAME`), e.g. a teacher."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
from torch import nn

from spikedriven.data import DataConfig, EventDataConfig
from spikedriven.errors import RecipeError, SpikedrivenError
from spikedriven.training.config import ModelConfig

TIMM = "timm/"


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
            f"model {model.name}: it cannot be built with model.args {model.args} ({type(error).__name__}: {error})"
        ) from error


def build_network(
    model: ModelConfig, data: DataConfig | EventDataConfig, **keywords: Any
) -> nn.Module:
    """A freshly initialised network. Channels, for ours also image size and an event set's time steps, are those of the
    data.

    keywords: what the task adds, weaker than `model.args`.
    """
    keywords |= {"in_chans": data.in_chans}
    if model.num_classes is not None:
        keywords["num_classes"] = model.num_classes
    if model.name.startswith(TIMM):
        if model.time_steps is not None or "output" in keywords:
            raise RecipeError(
                f"model {model.name}: timm's networks have no time steps: no model.time_steps, no loss.tet"
            )
        return build_timm(model.name, **{**keywords, **model.args})
    if isinstance(data, EventDataConfig):
        if model.time_steps not in (None, data.time_steps):
            raise RecipeError(
                f"model.time_steps={model.time_steps}, but data.time_steps={data.time_steps}: a network takes each "
                "frame of an event set as one step; leave model.time_steps out"
            )
        keywords["time_steps"] = data.time_steps
    elif model.time_steps is not None:
        keywords["time_steps"] = model.time_steps
    from spikedriven import create_model  # the package imports this module

    with explain_arguments(model):
        return create_model(model.name, **{**keywords, "img_size": data.img_size, **model.args})


def build_timm(name: str, **keywords: Any) -> nn.Module:
    """timm.create_model of "timm/NAME". RecipeError for a name it does not know, a keyword it does not take, or
    pretrained weights that it cannot fetch."""
    short = name.removeprefix(TIMM)
    architecture = short.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; close: {', '.join(close)}" if close else ""
        raise RecipeError(f"model {name}: timm has no model {architecture!r}{hint}")
    try:
        return timm.create_model(short, **keywords)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        raise RecipeError(f"model {name} with {given}: {error}") from error
