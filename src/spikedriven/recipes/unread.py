"""Options that nothing reads under the values of other fields: whoever gives one expects something
of it.

A field with its default value says nothing, so it is never refused.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spikedriven.errors import RecipeError


class UnreadError(RecipeError):
    """path: SECTION.FIELD that is not read. Whoever took it over from another recipe may drop
    it; see `without`.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


#: A recipe; its type is above this module.
Whole = Any


@dataclass(frozen=True)
class Rule:
    """`fields`, SECTION.FIELD each, are read only where `read` holds of the recipe; where: that
    condition, in words.
    """

    fields: tuple[str, ...]
    read: Callable[[Whole], bool]
    where: str


def _schedule(recipe: Whole) -> str:
    return recipe.schedule.kind.removeprefix("timm/")


def _on(section: str, *names: str) -> Callable[[Whole], bool]:
    """Whether all of the fields are on: true, above 0, given."""
    return lambda recipe: all(
        getattr(getattr(recipe, section), name, False) not in (0, False, None) for name in names
    )


def _cuts(recipe: Whole) -> bool:
    return recipe.data.cutmix > 0 or recipe.data.cutmix_minmax is not None


RULES = (
    Rule(
        ("loss.bce_target_thresh",),
        lambda r: r.loss.kind == "binary_cross_entropy",
        "loss.kind is binary_cross_entropy",
    ),
    Rule(("loss.tet_lamb",), _on("loss", "tet"), "loss.tet is on"),
    Rule(
        ("loss.tet_means",),
        _on("loss", "tet", "tet_lamb"),
        "loss.tet is on and loss.tet_lamb is above 0",
    ),
    Rule(
        ("schedule.gamma",),
        lambda r: _schedule(r) in ("step", "multistep"),
        "schedule.kind is step or timm/multistep",
    ),
    Rule(("schedule.power",), lambda r: _schedule(r) == "poly", "schedule.kind is poly"),
    Rule(
        ("schedule.min_lr",),
        lambda r: _schedule(r) not in ("constant", "step", "multistep", "none"),
        "the learning rate of schedule.kind ends anywhere",
    ),
    Rule(
        ("schedule.warmup_lr",),
        lambda r: r.schedule.warmup_epochs > 0 and r.schedule.kind != "cosine_iter",
        "schedule.warmup_epochs is above 0, and not of cosine_iter, which starts at 0",
    ),
    Rule(("optim.decay_all",), _on("optim", "weight_decay"), "optim.weight_decay is above 0"),
    Rule(("run.ema_warmup",), _on("run", "ema"), "run.ema is given"),
    Rule(("distill.tau",), lambda r: r.distill.kind == "soft", "distill.kind is soft"),
    Rule(
        ("distill.checkpoint",),
        lambda r: (r.distill.teacher or "timm/").startswith("timm/"),
        "distill.teacher is one of timm's",
    ),
    Rule(
        ("quant.ranges", "quant.learn_steps", "quant.power_of_two", "quant.images"),
        lambda r: r.quant.bits is not None,
        "quant.bits is given",
    ),
    Rule(
        ("data.train_fraction_seed",),
        lambda r: r.data.train_fraction < 1,
        "data.train_fraction is below 1",
    ),
    Rule(("data.smoothing",), lambda r: r.task != "pretraining", "the task has labels"),
    Rule(
        ("data.color_jitter",),
        lambda r: r.data.auto_augment is None or r.data.auto_augment.startswith("3a"),
        "data.auto_augment is not given, or 3a",
    ),
    Rule(
        ("data.random_erasing_mode", "data.random_erasing_count"),
        _on("data", "random_erasing"),
        "data.random_erasing is above 0",
    ),
    Rule(
        ("data.cutmix",), lambda r: r.data.cutmix_minmax is None, "data.cutmix_minmax is not given"
    ),
    Rule(
        ("data.mixup_mode", "data.mixup_off_epoch"),
        lambda r: r.data.mixes,
        "data.mixup or another mixing is on",
    ),
    Rule(
        ("data.mixup_prob",),
        lambda r: r.data.mixup > 0 or (hasattr(r.data, "cutmix") and _cuts(r)),
        "data.mixup (of images: or data.cutmix) is above 0",
    ),
    Rule(
        ("data.switch_prob",),
        lambda r: r.data.mixup > 0 and _cuts(r),
        "data.mixup and data.cutmix are both on",
    ),
    Rule(("data.event_mix_prob",), _on("data", "event_mix"), "data.event_mix is above 0"),
    Rule(("data.flip_each_frame",), _on("data", "hflip"), "data.hflip is above 0"),
    Rule(("data.cache_dir",), _on("data", "cache"), "data.cache is on"),
    Rule(("data.crop_resize", "data.crop_range"), _on("data", "crop"), "data.crop is on"),
    Rule(
        tuple(
            f"data.{name}"
            for name in (
                "scene_size",
                "scene_seed",
                "train_images",
                "test_images",
                "scenes",
                "test_scenes",
            )
        ),
        lambda r: r.data.dataset == "fashion-scenes",
        "data.dataset is fashion-scenes",
    ),
)


def check_all_read(recipe: Whole) -> None:
    """UnreadError for a field that is not at its default and that nothing reads."""
    for rule in RULES:
        for path in rule.fields:
            section, _, name = path.partition(".")
            part = getattr(recipe, section)
            fields = {field.name: field for field in dataclasses.fields(part)}
            if (
                name in fields
                and getattr(part, name) != fields[name].default
                and not rule.read(recipe)
            ):
                raise UnreadError(
                    path,
                    f"{path}: found {getattr(part, name)!r}, but nothing reads it: it is of use "
                    "only where "
                    f"{rule.where}. Leave it out (its default is {fields[name].default!r})",
                )


def without(recipe: Whole, path: str) -> Whole:
    """The recipe with the default of a field that another value of the recipe leaves unread."""
    section, _, name = path.partition(".")
    part = getattr(recipe, section)
    default = next(field.default for field in dataclasses.fields(part) if field.name == name)
    return dataclasses.replace(recipe, **{section: dataclasses.replace(part, **{name: default})})
