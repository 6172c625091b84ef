"""The section `optim` of a recipe: which optimiser of timm, with which settings."""

from dataclasses import dataclass, field
from typing import Any

from timm.optim import get_optimizer_info, list_optimizers

from spikedriven.checks import check_numbers, refuse
from spikedriven.errors import RecipeError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    name: str = "adamw"
    """Any optimiser of timm by its name there, also with lookahead_ before it. lamb clips the
    global gradient norm to 1 itself."""
    lr: float | None = None
    """Peak learning rate, used as it is. Give either lr or blr."""
    blr: float | None = None
    """Base learning rate: lr = blr * (batch_size * accumulation * processes) / 256."""
    weight_decay: float = 0.05
    """Applied to tensors of two or more dimensions that are not biases."""
    decay_all: bool = False
    """Apply weight_decay to every tensor, biases and norms too."""
    betas: tuple[float, ...] | None = None
    """None: the optimiser's own; of adamw and lamb (0.9, 0.999)."""
    eps: float | None = None
    """None: the optimiser's own; 1e-8 for adamw, 1e-6 for lamb."""
    momentum: float | None = None
    """Of optimisers that have one, such as sgd. None: 0.9."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further keywords of the optimiser, e.g. --optim.args.caution true."""
    trust_clip: bool = False
    """lamb only: limit the trust ratio to 1."""
    layer_decay: float = 1.0
    """Each layer's learning rate is this times that of the layer above it; 1 switches it off."""
    head_lr_scale: float = 1.0
    """The learning rate of parameters whose names begin with "head." is this times that of the
    others.
    """

    def __post_init__(self) -> None:
        if (self.lr is None) == (self.blr is None):
            raise RecipeError(
                f"optim: give exactly one of lr and blr, found lr={self.lr}, blr={self.blr}"
            )
        check_optimizer(self)
        check_numbers(
            self, dict.fromkeys(("lr", "blr", "weight_decay", "momentum"), "[0, inf)"), "optim"
        )
        above = {"eps": "(0, inf)", "layer_decay": "(0, 1]", "head_lr_scale": "(0, inf)"}
        check_numbers(self, above, "optim")
        if self.betas is not None and not all(0 <= beta < 1 for beta in self.betas):
            refuse("optim.betas", self.betas, "numbers in [0, 1)")
        if self.decay_all and self.layer_decay < 1:
            raise RecipeError(
                "optim.decay_all: not offered beside layer_decay, found "
                f"layer_decay={self.layer_decay}"
            )
        if self.head_lr_scale != 1 and self.layer_decay < 1:
            refuse("optim.head_lr_scale", self.head_lr_scale, "no layer_decay beside it")
        if self.trust_clip and self.name != "lamb":
            raise RecipeError(
                f"optim.trust_clip: only lamb has a trust ratio, found optim.name={self.name}"
            )


def check_optimizer(optim: OptimConfig) -> None:
    """RecipeError for a name that timm does not know, and for options that its optimiser has
    not."""
    name, known = optim.name.rsplit("_", 1)[-1], [str(name) for name in list_optimizers()]
    if optim.name not in (name, f"lookahead_{name}") or name not in known:
        raise RecipeError(
            f"optim.name: timm has no optimiser {optim.name!r}; {did_you_mean(name, known)}"
        )
    info = get_optimizer_info(name)
    if info.second_order:
        raise RecipeError(
            f"optim.name {optim.name}: needs second derivatives, which neurons have not"
        )
    for option, has in (
        ("betas", info.has_betas),
        ("eps", info.has_eps),
        ("momentum", info.has_momentum),
    ):
        given = getattr(optim, option)
        if given is not None and not has:
            raise RecipeError(f"optim.{option}: found {given}, but {optim.name} has none")
    if optim.betas is not None and info.num_betas != len(optim.betas):
        raise RecipeError(
            f"optim.betas: {optim.name} has {info.num_betas}, found {len(optim.betas)}: "
            f"{optim.betas}"
        )
