"""`create_segmenter`: from names and numbers to a segmenter, so that a recipe's ``model``
section rebuilds it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import nn

from spikedriven.errors import InputError, did_you_mean
from spikedriven.layers import ConvBN
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.dense_keywords import gathered
from spikedriven.models.detection.parts import Parts, PlainConv
from spikedriven.models.detection.pyramid import SpikeFPN
from spikedriven.models.e_spikeformer import ESpikeFormer
from spikedriven.models.registry import create_model, family_of, variant_of
from spikedriven.models.segmentation.fcn import FCNHead
from spikedriven.models.segmentation.names import FCN_NAMES, INTEGER_NAMES, LIF_NAMES
from spikedriven.models.segmentation.options import FCNOptions, SegmenterOptions, SemanticFPNOptions
from spikedriven.models.segmentation.semantic_fpn import Segmenter, SemanticFPNHead
from spikedriven.models.staged import make_neurons
from spikedriven.models.tags import stated_by
from spikedriven.neurons import NeuronFactory
from spikedriven.neurons.registry import takes_option

#: What the released configurations declare, whatever the taps' strides are; only chain lengths
#: follow from them.
DECLARED_STRIDES = (4, 8, 16, 32)


def create_segmenter(name: str = "semantic_fpn", **keywords: Any) -> Segmenter:
    """A segmenter with random weights: [B, 3, H, W] -> logits [B, K, H, W].

    name: "semantic_fpn" or "fcn"; or NAME.TAG of a published configuration, whose keywords are
    taken where ``keywords`` do not give others. keywords: those of `SemanticFPNOptions` or
    `FCNOptions` (``backbone="e_spikeformer_10m"``, ``num_classes=150``, ``mode="corrected"`` ...),
    and the body's time_steps and img_size; InputError for others.
    """
    name, stated = stated_by(name)
    keywords = gathered(stated, keywords)
    if name not in SEGMENTERS:
        raise InputError(f"no segmenter is called {name!r}; there are {', '.join(SEGMENTERS)}")
    options, build = SEGMENTERS[name]
    known = {field.name for field in dataclasses.fields(options)}
    for key in keywords.keys() - known:
        raise InputError(f"{name} has no keyword {key!r}; {did_you_mean(key, sorted(known))}")
    return build(options(**keywords))


def _semantic_fpn(options: SemanticFPNOptions) -> Segmenter:
    body = _body(options)
    info = body.feature_info
    indices = _taps(info, options.out_indices)
    neuron = _neuron(options)
    norm = not options.released or takes_option(options.neuron, "levels")
    parts = _NeckParts(
        options.mode, neuron, neuron, body.time_steps if options.keep_time else 1, norm
    )
    channels = [info[i]["num_chs"] for i in indices]
    neck = SpikeFPN(channels, range(len(indices)), options.width, parts, extra_levels=0)
    lengths = chain_lengths(_strides(options, [info[i]["reduction"] for i in indices]))
    upsampling = options.upsampling or ("bilinear" if options.released else "nearest")
    head = SemanticFPNHead(
        options.width, options.width, options.num_classes, lengths, neuron, upsampling
    )
    names = INTEGER_NAMES if takes_option(options.neuron, "levels") else LIF_NAMES
    return Segmenter(body, indices, neck, head, options.num_classes, options.keep_time, names)


def _fcn(options: FCNOptions) -> Segmenter:
    body = _body(options)
    info = body.feature_info
    indices = _taps(info, (len(info) - 1,) if options.out_indices is None else options.out_indices)
    if len(indices) != 1:
        raise InputError(f"out_indices: an FCN head reads one map, found {options.out_indices}")
    channels = info[indices[0]]["num_chs"]
    if options.convs == 0 and options.width not in (None, channels):
        raise InputError(
            f"width={options.width}: without convolutions (convs=0) the head has the {channels} "
            "channels of its tap"
        )
    head = FCNHead(
        channels, options.width or channels, options.convs, options.num_classes, _neuron(options)
    )
    return Segmenter(
        body, indices, nn.Identity(), head, options.num_classes, options.keep_time, FCN_NAMES
    )


SEGMENTERS: dict[str, tuple[type[SegmenterOptions], Callable[[Any], Segmenter]]] = {
    "semantic_fpn": (SemanticFPNOptions, _semantic_fpn),
    "fcn": (FCNOptions, _fcn),
}


def _neuron(options: SegmenterOptions) -> NeuronFactory:
    return make_neurons(
        options.neuron, options.tau, options.levels, None, "half_even", "inclusive"
    ).body


@dataclasses.dataclass(frozen=True)
class _NeckParts(Parts):
    """Convolution and batch norm; the released neck has a bias in front of the norm, and with
    LIF neurons no norm.
    """

    norm: bool

    def weights(self, in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Module:
        if not self.norm:
            return PlainConv(in_chans, out_chans, kernel, stride)
        return ConvBN(in_chans, out_chans, kernel, stride, bias=not self.corrected)


def _body(options: SegmenterOptions) -> SpikeDrivenModel:
    scaled = options.released and issubclass(family_of(options.backbone), ESpikeFormer)
    if variant_of(options.backbone).num_classes is None:
        raise InputError(
            f"backbone {options.backbone!r} gives no feature maps; choose a classification network"
        )
    defaults: dict[str, Any] = {"num_classes": 0, **({"layer_scale": 1e-6} if scaled else {})}
    return cast(
        SpikeDrivenModel, create_model(options.backbone, **{**defaults, **options.backbone_args})
    )


def _taps(info: Sequence[dict], given: Sequence[int] | None) -> list[int]:
    strides = [tap["reduction"] for tap in info]
    if given is None:
        return sorted({stride: i for i, stride in enumerate(strides)}.values())[
            -len(DECLARED_STRIDES) :
        ]
    if not given or list(given) != sorted(set(given)) or not 0 <= given[0] <= given[-1] < len(info):
        raise InputError(
            f"out_indices must rise and lie in 0..{len(info) - 1} (strides {strides}), found "
            f"{given}"
        )
    return list(given)


def _strides(options: SemanticFPNOptions, reductions: Sequence[int]) -> Sequence[int]:
    if not options.released:
        return reductions
    if len(reductions) != len(DECLARED_STRIDES):
        raise InputError(
            f"the released form has {len(DECLARED_STRIDES)} taps, found {len(reductions)}"
        )
    return DECLARED_STRIDES


def chain_lengths(strides: Sequence[int]) -> list[int]:
    """Convolutions per level: as many as halvings from the first level's stride, at least one."""
    return [max(1, round(math.log2(stride / strides[0]))) for stride in strides]
