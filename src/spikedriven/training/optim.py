"""Optimisers by the releases' rules: which parameters decay, which learn more slowly, and how large
the learning rate is.
"""

from typing import Any

import torch
from timm.optim import (
    create_optimizer_v2,
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from torch import nn

from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.optim import OptimConfig


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float = 1.0,
    decay_all: bool = False,
    head_lr_scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups for an optimiser: no decay on biases, on tensors of fewer than two dimensions, nor on
    `model.no_weight_decay()`.

    With `layer_decay` < 1 each layer also gets an `lr_scale` of `layer_decay ** (layers above it)`;
    the order of layers is
    what `model.group_matcher` says (timm's convention), and a model without one is an InputError:
    guessing would change the run. `decay_all`: one group with decay on everything (the release's
    masked pre-training). `head_lr_scale`: the `lr_scale` of parameters whose names begin with
    "head.".
    """
    if head_lr_scale != 1.0:
        return _with_faster_head(model, weight_decay, decay_all, head_lr_scale)
    if decay_all:
        return [
            {
                "params": [p for p in model.parameters() if p.requires_grad],
                "weight_decay": weight_decay,
            }
        ]
    exempt = set(getattr(model, "no_weight_decay", set)())
    if layer_decay == 1.0:
        return param_groups_weight_decay(model, weight_decay, no_weight_decay_list=exempt)
    if not hasattr(model, "group_matcher"):
        raise InputError(
            f"optim.layer_decay={layer_decay}: {type(model).__name__} has no group_matcher(), "
            "which says how "
            "its layers are ordered; use layer_decay 1.0 for this model"
        )
    return param_groups_layer_decay(
        model, weight_decay, no_weight_decay_list=exempt, layer_decay=layer_decay
    )


def _with_faster_head(
    model: nn.Module, weight_decay: float, decay_all: bool, scale: float
) -> list[dict[str, Any]]:
    exempt = set(getattr(model, "no_weight_decay", set)())
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = parameter.ndim <= 1 or name.endswith(".bias") or name in exempt
            decay = weight_decay if decay_all or not spared else 0.0
            lr_scale = scale if name.startswith("head.") else 1.0
            empty = {"params": [], "weight_decay": decay, "lr_scale": lr_scale}
            groups.setdefault((lr_scale, decay), empty)["params"].append(parameter)
    return list(groups.values())


def peak_learning_rate(optim: OptimConfig, global_batch: int) -> float:
    """`lr` as given, or `blr` scaled linearly with the images per optimiser step over all processes
    (256 images: blr itself).
    """
    if optim.lr is not None:
        return optim.lr
    assert optim.blr is not None  # OptimConfig demands one of the two
    return optim.blr * global_batch / 256


def create_optimizer(
    model: nn.Module, optim: OptimConfig, global_batch: int
) -> torch.optim.Optimizer:
    """Any optimiser of timm by its name there. Published LAMB runs depend on timm's choices: the
    global gradient norm is clipped to 1, the trust ratio acts only on groups with weight decay.

    RecipeError for keywords that it does not take, and where it needs what is not there (a GPU,
    apex, bitsandbytes).
    """
    given = {name: getattr(optim, name) for name in ("betas", "eps", "momentum")}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if optim.trust_clip:
        options["trust_clip"] = True
    groups = parameter_groups(
        model, optim.weight_decay, optim.layer_decay, optim.decay_all, optim.head_lr_scale
    )
    peak = peak_learning_rate(optim, global_batch)
    try:
        return create_optimizer_v2(groups, opt=optim.name, lr=peak, **options, **optim.args)
    except (TypeError, ValueError, AssertionError, ImportError, RuntimeError) as error:
        raise RecipeError(f"optim.name {optim.name} with args {optim.args}: {error}") from error
