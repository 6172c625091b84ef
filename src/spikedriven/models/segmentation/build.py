"""`create_segmenter`: from names and numbers to a segmenter, so that a recipe's ``model`` section rebuilds it."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import nn

from spikedriven.errors import InputError
from spikedriven.layers import ConvBN
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection.parts import MODES, Parts
from spikedriven.models.detection.pyramid import SpikeFPN
from spikedriven.models.e_spikeformer import ESpikeFormer
from spikedriven.models.registry import create_model, family_of, variant_of
from spikedriven.models.segmentation.semantic_fpn import UPSAMPLINGS, Segmenter, SemanticFPNHead
from spikedriven.models.staged import make_neurons
from spikedriven.models.tags import stated_by

#: What the released configurations declare, whatever the taps' strides are; only chain lengths follow from them.
DECLARED_STRIDES = (4, 8, 16, 32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterOptions:
    """Keywords of `create_segmenter`."""

    backbone: str = "e_spikeformer_10m"
    """A registered model name."""
    num_classes: int = 150
    """Classes of pixels."""
    mode: str = "corrected"
    """"corrected", or "released": four taps said to have strides 4, 8, 16, 32, bilinear upsampling, biases in front
    of the neck's batch norms, and a layer scale of 1e-6 in an E-SpikeFormer backbone (docs/segmentation.md)."""
    backbone_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of the backbone."""
    out_indices: tuple[int, ...] | None = None
    """Taps, into the backbone's feature_info. None: of each stride the last map, at most the four coarsest."""
    keep_time: bool = False
    """Keep T in neck and head and average the logits, as SDT-V2's segmenters do. False: average the taps."""
    width: int = 128
    """Channels of pyramid and head."""
    neuron: str = "integer"
    """"integer", "lif" or "plif" in neck and head."""
    levels: int = 4
    """D of integer neurons."""
    tau: float = 2.0
    """Of LIF neurons."""
    upsampling: str | None = None
    """Inside the head: "nearest" or "bilinear". None: by the mode."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode must be one of {MODES}, found {self.mode!r}")
        if self.upsampling not in (None, *UPSAMPLINGS):
            raise InputError(f"upsampling must be one of {UPSAMPLINGS}, found {self.upsampling!r}")
        for name in ("num_classes", "width", "levels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, found {getattr(self, name)}")

    @property
    def released(self) -> bool:
        return self.mode == "released"


def create_segmenter(name: str = "semantic_fpn", **keywords: Any) -> Segmenter:
    """A segmenter with random weights: [B, 3, H, W] -> logits [B, K, H, W].

    name: "semantic_fpn", or NAME.TAG of a published configuration, whose keywords are taken where ``keywords`` do not
    give others. keywords: those of `SegmenterOptions` (``backbone="e_spikeformer_10m"``, ``num_classes=150``,
    ``mode="corrected"`` ...); InputError for others.
    """
    name, stated = stated_by(name)
    keywords = stated | keywords
    if name not in SEGMENTERS:
        raise InputError(f"no segmenter is called {name!r}; there are {', '.join(SEGMENTERS)}")
    known = {field.name for field in dataclasses.fields(SegmenterOptions)}
    for key in keywords.keys() - known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{name} has no keyword {key!r}{hint} It understands: {', '.join(sorted(known))}")
    return SEGMENTERS[name](SegmenterOptions(**keywords))


def _semantic_fpn(options: SegmenterOptions) -> Segmenter:
    body = _body(options)
    info = body.feature_info
    indices = _taps(info, options.out_indices)
    neuron = make_neurons(options.neuron, options.tau, options.levels, None, "half_even", "inclusive").body
    parts = _NeckParts(options.mode, neuron, neuron, body.time_steps if options.keep_time else 1)
    channels = [info[i]["num_chs"] for i in indices]
    neck = SpikeFPN(channels, range(len(indices)), options.width, parts, extra_levels=0)
    lengths = chain_lengths(_strides(options, [info[i]["reduction"] for i in indices]))
    upsampling = options.upsampling or ("bilinear" if options.released else "nearest")
    head = SemanticFPNHead(options.width, options.width, options.num_classes, lengths, neuron, upsampling)
    return Segmenter(body, indices, neck, head, options.num_classes, options.keep_time)


SEGMENTERS: dict[str, Callable[[SegmenterOptions], Segmenter]] = {"semantic_fpn": _semantic_fpn}


class _NeckParts(Parts):
    """Convolution and batch norm in both modes; the released neck has a bias in front of the norm."""

    def weights(self, in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Module:
        return ConvBN(in_chans, out_chans, kernel, stride, bias=not self.corrected)


def _body(options: SegmenterOptions) -> SpikeDrivenModel:
    scaled = options.released and issubclass(family_of(options.backbone), ESpikeFormer)
    if variant_of(options.backbone).num_classes is None:
        raise InputError(f"backbone {options.backbone!r} gives no feature maps; choose a classification network")
    defaults: dict[str, Any] = {"num_classes": 0, **({"layer_scale": 1e-6} if scaled else {})}
    return cast(SpikeDrivenModel, create_model(options.backbone, **{**defaults, **options.backbone_args}))


def _taps(info: Sequence[dict], given: Sequence[int] | None) -> list[int]:
    strides = [tap["reduction"] for tap in info]
    if given is None:
        return sorted({stride: i for i, stride in enumerate(strides)}.values())[-len(DECLARED_STRIDES) :]
    if not given or list(given) != sorted(set(given)) or not 0 <= given[0] <= given[-1] < len(info):
        raise InputError(f"out_indices must rise and lie in 0..{len(info) - 1} (strides {strides}), found {given}")
    return list(given)


def _strides(options: SegmenterOptions, reductions: Sequence[int]) -> Sequence[int]:
    if not options.released:
        return reductions
    if len(reductions) != len(DECLARED_STRIDES):
        raise InputError(f"the released form has {len(DECLARED_STRIDES)} taps, found {len(reductions)}")
    return DECLARED_STRIDES


def chain_lengths(strides: Sequence[int]) -> list[int]:
    """Convolutions per level: as many as halvings from the first level's stride, at least one."""
    return [max(1, round(math.log2(stride / strides[0]))) for stride in strides]
