"""One registry over all families. Registered names are also visible to ``timm.create_model``."""

import fnmatch
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast, overload

import timm
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    resolve_pretrained_cfg,
)
from torch import nn

from spikedriven.errors import InputError, did_you_mean
from spikedriven.models.authors import AUTHORS, load_authors, stored_keywords
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.pretrained import check_pretrained, classes_of, load_pretrained, weights_of
from spikedriven.models.tags import find_file


@dataclass(frozen=True)
class Variant:
    """One registered name: constructor keywords, input, and what was published for it.

    input_size: (C, H, W). published: accuracy as the source gives it. source: where definition and
    figure come from. crop_pct, mean, std, interpolation: evaluation preprocessing of its recipe.
    num_classes: None for a model without a classifier.
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
    cls: type[SpikeDrivenModel],
    variants: dict[str, Variant],
    first_conv: str = "",
    paper: str = "",
) -> None:
    """Register every variant of a family, here and with timm: once, at the end of its module.

    cls: its constructor takes num_classes, in_chans, img_size, time_steps and output (with
    num_classes None in every variant: not the first and the last), and what variants name.
    variants: name -> definition; a name holds no dot, which begins a tag.
    first_conv: qualified name of the layer that reads the image, for timm. paper: where it is from.
    Raises InputError for a class that is not such a model, and for a name that is taken.
    """
    _check_family(cls, has_classes=any(v.num_classes is not None for v in variants.values()))
    for name, variant in variants.items():
        _check_name(cls, name)
        check_keywords(cls, name, variant.args)
    module: Any = sys.modules[cls.__module__]
    module.default_cfgs = generate_default_cfgs(
        {name: _timm_cfg(name, v, first_conv, paper) for name, v in variants.items()}
    )
    for name, variant in variants.items():
        _VARIANTS[name], _CLASSES[name] = variant, cls
        entry = _entry_point(
            cls, name, variant, partial(_timm_cfg, first_conv=first_conv, paper=paper)
        )
        setattr(module, name, register_model(entry))


def _check_family(cls: type[nn.Module], has_classes: bool) -> None:
    if not (isinstance(cls, type) and issubclass(cls, SpikeDrivenModel)):
        base = "spikedriven.models.SpikeDrivenModel"
        raise InputError(f"{cls!r} is no family: derive it from {base}")
    needed = ["in_chans", "img_size", "time_steps"] + ["num_classes", "output"] * has_classes
    missing = [key for key in needed if key not in inspect.signature(cls).parameters]
    if missing:
        raise InputError(
            f"{cls.__qualname__} has no keyword {', '.join(missing)}: its __init__ takes "
            f"{', '.join(needed)} and hands them to that of SpikeDrivenModel"
        )


def _check_name(cls: type[nn.Module], name: str) -> None:
    """A definition may replace itself, as when a notebook's cell runs again, and no other."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise InputError(f"a model cannot be called {name!r}: use letters, digits and underscores")
    taken = _CLASSES.get(name)
    if taken is not None and _origin(taken) != _origin(cls):
        owner = _origin(taken)
    elif taken is None and timm.is_model(name):
        owner = "a model of timm"
    else:
        return
    raise InputError(
        f"the name {name!r} belongs to {owner}; choose another one for {cls.__qualname__}"
    )


def _origin(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _timm_cfg(name: str, variant: Variant, first_conv: str, paper: str) -> dict[str, Any]:
    """What timm wants to know of a name, with the weights where some ship."""
    weights, classes = weights_of(name), classes_of(name)
    return {
        "input_size": variant.input_size,
        "num_classes": variant.num_classes,
        "crop_pct": variant.crop_pct,
        "mean": variant.mean,
        "std": variant.std,
        "interpolation": variant.interpolation,
        "first_conv": first_conv,
        "classifier": "head",
        "paper_name": paper,
        "description": variant.published,
        "origin_url": variant.source,
        "file": str(weights) if weights else None,
        "label_names": classes or None,
        **variant.extra,
    }


def _entry_point(
    cls: type[nn.Module],
    name: str,
    own: Variant,
    describe: Callable[[str, Variant], dict[str, Any]],
):
    def entry(
        pretrained: bool | str = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> nn.Module:
        check_keywords(cls, name, kwargs)
        full_name, variant = name, own
        if isinstance(pretrained_cfg, str):  # what timm makes of the tag in NAME.TAG
            full_name = f"{name}.{pretrained_cfg}"
            variant = variant_of(full_name)
        if not pretrained_cfg or isinstance(pretrained_cfg, str):
            pretrained_cfg = describe(full_name, variant)
        cfg = resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay).to_dict(
            remove_null=False  # a network without a classifier says so with None
        )
        if pretrained == AUTHORS:
            kwargs = stored_keywords(full_name) | kwargs
        elif pretrained:
            check_pretrained(full_name, cfg)
        model = _built(cls, name, variant, cfg, kwargs)
        if pretrained == AUTHORS:
            load_authors(model, full_name)
        elif pretrained:
            load_pretrained(model, full_name, cfg)
        return model

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = cls.__module__
    entry.__doc__ = f"{name}: {own.args}. {own.published} ({own.source})"
    return entry


def _built(
    cls: type[nn.Module], name: str, variant: Variant, cfg: dict[str, Any], kwargs: dict[str, Any]
) -> nn.Module:
    """The network with random weights, or the backbone that timm's ``features_only`` wraps."""
    stride = kwargs.pop("output_stride", None)
    tagged = {
        key: value for key, value in variant.args.items() if _VARIANTS[name].args.get(key) != value
    }
    size = {"img_size": variant.input_size[1:]}
    # Feature maps come from forward_intermediates: timm's other wrappers bypass forward, and with
    # it the time axis.
    feature_cfg = {"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}
    model: Any = build_model_with_cfg(
        cls, name, False, pretrained_cfg=cfg, feature_cfg=feature_cfg,
        **{**size, **variant.args, **kwargs},
    )  # fmt: skip
    reduction = _reduction(getattr(model, "model", model))
    if stride not in (None, 32, reduction):
        raise InputError(
            f"{name} has no output_stride {stride}: its last map has stride "
            f"{reduction or 'unknown'}, and no release has the dilated convolutions that another "
            "one needs"
        )
    if reduction is not None:
        height, width = cfg["input_size"][1:]
        model.pretrained_cfg["pool_size"] = (height // reduction, width // reduction)
    # What builds the network again: timm adds the keywords that it was called with, and writes them
    # all into files.
    model._model_args = tagged
    return model  # type: ignore[no-any-return]


def _reduction(network: nn.Module) -> int | None:
    """Stride of the last feature map; None for a family that names no maps."""
    info: Any = network.feature_info
    return info[-1]["reduction"] if len(info) else None


#: Keywords that timm's builder consumes before the model sees them.
_TIMM_KEYWORDS = {
    "features_only",
    "out_indices",
    "feature_cls",
    "pretrained_model_args",
    "cache_dir",
    "output_stride",
}


def check_keywords(cls: type[nn.Module], name: str, kwargs: dict[str, Any]) -> None:
    """One clear error for a keyword the family does not understand."""
    known = set(inspect.signature(cls).parameters)
    for key in kwargs:
        if key not in known | _TIMM_KEYWORDS:
            raise InputError(f"{name} has no keyword {key!r}; {did_you_mean(key, sorted(known))}")


def list_models(filter: str = "*") -> list[str]:
    """Registered names that match a wildcard, family by family: ``list_models("sdt*")``.

    Example::

        >>> import spikedriven as sd
        >>> sd.list_models("qkformer*")
        ['qkformer_10_384', 'qkformer_10_512', 'qkformer_10_768', 'qkformer_4_384_cifar']
    """
    return [name for name in _VARIANTS if fnmatch.fnmatch(name, filter)]


def variant_of(name: str) -> Variant:
    """The registered definition of NAME, or of NAME.TAG: with what the published file states put
    in.

    InputError, with close matches, for an unknown name or tag.
    """
    base, dot, _ = name.partition(".")
    if base not in _VARIANTS:
        raise InputError(f"no model is called {base!r}; {did_you_mean(base, _VARIANTS)}")
    variant = _VARIANTS[base]
    if not dot:
        return variant
    file = find_file(name)
    return replace(
        variant,
        args=variant.args | file.args,
        num_classes=file.num_classes,
        input_size=file.input_size,
        published=file.published,
        source=file.source,
        crop_pct=file.crop_pct,
        mean=file.mean,
        std=file.std,
        interpolation=file.interpolation,
    )


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
    """Build a registered model: with random weights, with those that ship (``pretrained=True``;
    docs/results.md, F), or with the file of NAME.TAG that `spikedriven fetch` has stored
    (``pretrained="authors"``).

    name: see `list_models`; or NAME.TAG, the network of a published file (`spikedriven models
    --files`) with its keywords, which ``kwargs`` override: ``create_model("sdt_8_768.in1k_288")``.
    kwargs: constructor keywords of the family (``num_classes``, ``time_steps``, ``in_chans``,
    ``img_size``, ``output`` ...), and timm's ``features_only=True, out_indices=...`` for a backbone
    that returns maps [B, C, H, W], time merged. Raises InputError for an unknown name or keyword.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model(
        ...     "sdt_2_256_cifar", num_classes=100, time_steps=2, output="per_step"
        ... )
        >>> model(torch.rand(1, 3, 32, 32)).shape
        torch.Size([2, 1, 100])
        >>> trained = sd.create_model("e_spikeformer_fashion", pretrained=True)
        >>> trained(torch.rand(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    variant_of(name)
    if pretrained not in (False, True, AUTHORS):
        raise InputError(f"pretrained: expected False, True or {AUTHORS!r}, found {pretrained!r}")
    return timm.create_model(
        name, pretrained=cast(bool, pretrained), **kwargs
    )  # timm passes it on as it is
