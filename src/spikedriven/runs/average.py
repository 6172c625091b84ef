"""How far the moving average of a run's weights (`run.ema`) has come from where it began."""

import inspect

import numpy as np
from timm.utils import ModelEmaV3

from spikedriven.recipes.types import Recipe

#: Above this share of the first weights, figures of an average are said to be early.
EARLY = 0.05


def start_share(decay: float, warmup: bool, steps: int) -> float:
    """The share that the weights of the first step still have in the average after so many
    steps, by timm's rule.
    """
    if not warmup:
        return decay ** max(steps - 1, 0)
    rule = inspect.signature(ModelEmaV3.__init__).parameters
    gamma, power = (rule[name].default for name in ("warmup_gamma", "warmup_power"))
    counts = np.arange(1, max(steps, 1), dtype=np.float64)
    return float(np.prod(np.minimum(1 - (1 + counts / gamma) ** -power, decay)))


def early_average(recipe: Recipe, steps: int) -> str:
    """What to say with a figure of the averaged weights after so many steps; nothing where they
    have left their start, or where that was no random one.
    """
    decay = recipe.run.ema
    if decay is None or recipe.model.init:
        return ""
    share = start_share(decay, recipe.run.ema_warmup, steps)
    if share <= EARLY:
        return ""
    return (
        f"the averaged weights are early: after {steps} steps of run.ema {decay:g} they are still "
        f"{share:.0%} the "
        "random ones of the first step. Take --run.ema-warmup true or a smaller --run.ema (`eval`: "
        "--weights trained)"
    )
