"""One registry over all families. Registered names are also visible to ``timm.create_model``."""

import difflib
import fnmatch
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, overload

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from spikedriven.errors import InputError
from spikedriven.models.authors import AUTHORS, load_authors, stored_keywords
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.pretrained import load_pretrained
from spikedriven.models.tags import find_file


@dataclass(frozen=True)
class Variant:
    """One registered name: constructor keywords, input, and what was published for it.

    input_size: (C, H, W). published: accuracy as the source gives it. source: where definition and figure come from.
    crop_pct, mean, std, interpolation: evaluation preprocessing of its recipe. num_classes: None for a
    model without a classifier.
    """

    args: dict[str, Any]
    num_classes: int | None = 1000
    input_size: tuple[int, int, int] = (3, 224, 224)
    published: str = ""
    source: str = ""
    crop_pct: float = 0.875
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    extra: dict[str, Any] = field(default_factory=dict)


#: "authors": the file that `spikedriven fetch NAME.TAG` has stored.
Pretrained = bool | Literal["authors"]

_VARIANTS: dict[str, Variant] = {}
_CLASSES: dict[str, type[nn.Module]] = {}


def register_family(
    cls: type[nn.Module], variants: dict[str, Variant], first_conv: str, paper: str
) -> None:
    """Register every variant of a family, here and with timm. Called once, at the end of the family's module."""
    module: Any = sys.modules[cls.__module__]
    module.default_cfgs = generate_default_cfgs(
        {name: _timm_cfg(v, first_conv, paper) for name, v in variants.items()}
    )
    for name, variant in variants.items():
        entry = _entry_point(cls, name, variant, lambda v: _timm_cfg(v, first_conv, paper))
        setattr(module, name, register_model(entry))
        _VARIANTS[name], _CLASSES[name] = variant, cls


def _timm_cfg(variant: Variant, first_conv: str, paper: str) -> dict[str, Any]:
    return {
        "input_size": variant.input_size, "num_classes": variant.num_classes, "crop_pct": variant.crop_pct,
        "mean": variant.mean, "std": variant.std, "interpolation": variant.interpolation, "first_conv": first_conv,
        "classifier": "head", "paper_name": paper, "description": variant.published, "origin_url": variant.source,
        **variant.extra,
    }  # fmt: skip


def _entry_point(
    cls: type[nn.Module], name: str, own: Variant, describe: Callable[[Variant], dict[str, Any]]
):
    def entry(
        pretrained: bool | str = False, pretrained_cfg: Any = None, **kwargs: Any
    ) -> nn.Module:
        check_keywords(cls, name, kwargs)
        full_name, variant = name, own
        if isinstance(pretrained_cfg, str):  # what timm makes of the tag in NAME.TAG
            full_name = f"{name}.{pretrained_cfg}"
            variant = variant_of(full_name)
            pretrained_cfg = describe(variant)
        if pretrained == AUTHORS:
            kwargs = stored_keywords(full_name) | kwargs
        size = {"img_size": variant.input_size[1:]}
        # Feature maps come from forward_intermediates: timm's other wrappers bypass forward, and with it the time axis.
        feature_cfg = {"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}
        model = build_model_with_cfg(
            cls, name, False, pretrained_cfg=pretrained_cfg, feature_cfg=feature_cfg,
            **{**size, **variant.args, **kwargs},
        )  # fmt: skip
        if pretrained == AUTHORS:
            load_authors(model, full_name)
        elif pretrained:
            load_pretrained(model, full_name)
        return model

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = cls.__module__
    entry.__doc__ = f"{name}: {own.args}. {own.published} ({own.source})"
    return entry


#: Keywords that timm's builder consumes before the model sees them.
_TIMM_KEYWORDS = {
    "features_only",
    "out_indices",
    "feature_cls",
    "pretrained_cfg_overlay",
    "cache_dir",
}


def check_keywords(cls: type[nn.Module], name: str, kwargs: dict[str, Any]) -> None:
    """One clear error for a keyword the family does not understand."""
    known = set(inspect.signature(cls).parameters)
    for key in kwargs:
        if key not in known | _TIMM_KEYWORDS:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"{name} has no keyword {key!r}{hint} It understands: {', '.join(sorted(known))}"
            )


def list_models(filter: str = "*") -> list[str]:
    """Registered names that match a wildcard, family by family: ``list_models("sdt*")``."""
    return [name for name in _VARIANTS if fnmatch.fnmatch(name, filter)]


def variant_of(name: str) -> Variant:
    """The registered definition of NAME, or of NAME.TAG: with what the published file states put in.

    InputError, with close matches, for an unknown name or tag.
    """
    base, dot, _ = name.partition(".")
    if base not in _VARIANTS:
        close = difflib.get_close_matches(base, _VARIANTS, n=3, cutoff=0.4)
        hint = f"; close: {', '.join(close)}" if close else ""
        raise InputError(
            f"no model is called {base!r}{hint}. spikedriven.list_models() names all {len(_VARIANTS)}"
        )
    variant = _VARIANTS[base]
    if not dot:
        return variant
    file = find_file(name)
    return replace(
        variant, args=variant.args | file.args, num_classes=file.num_classes, input_size=file.input_size,
        published=file.published, source=file.source, crop_pct=file.crop_pct, mean=file.mean, std=file.std,
        interpolation=file.interpolation,
    )  # fmt: skip


def family_of(name: str) -> type[nn.Module]:
    """The class that builds NAME or NAME.TAG."""
    variant_of(name)
    return _CLASSES[name.partition(".")[0]]


@overload
def create_model(
    name: str, *, features_only: Literal[True], pretrained: Pretrained = ..., **kwargs: Any
) -> nn.Module: ...
@overload
def create_model(name: str, *, pretrained: Pretrained = ..., **kwargs: Any) -> SpikeDrivenModel: ...
def create_model(name: str, *, pretrained: Pretrained = False, **kwargs: Any) -> nn.Module:
    """Build a registered model: with random weights, with those that ship (``pretrained=True``; docs/results.md, F), or
    with the file of NAME.TAG that `spikedriven fetch` has stored (``pretrained="authors"``).

    name: see `list_models`; or NAME.TAG, the network of a published file (`spikedriven models --files`) with its
    keywords, which ``kwargs`` override: ``create_model("sdt_8_768.in1k_288")``.
    kwargs: constructor keywords of the family (``num_classes``, ``time_steps``, ``in_chans``,
    ``img_size``, ``output`` ...), and timm's ``features_only=True, out_indices=...`` for a backbone that returns maps
    [B, C, H, W], time merged. Raises InputError for an unknown name or keyword.
    """
    variant_of(name)
    if pretrained not in (False, True, AUTHORS):
        raise InputError(f"pretrained: expected False, True or {AUTHORS!r}, found {pretrained!r}")
    return timm.create_model(
        name, pretrained=cast(bool, pretrained), **kwargs
    )  # timm passes it on as it is
