"""`create_detector`: from names and numbers to a detector, so that a recipe's ``model`` section
rebuilds it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from spikedriven.errors import InputError, did_you_mean
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.dense_keywords import DEFAULT_BODY, check_types, gathered
from spikedriven.models.detection.anchors import PyramidRoIAlign, StrideAnchors, octave_scales
from spikedriven.models.detection.cascade import STAGES, StageRule
from spikedriven.models.detection.detectors import (
    Detector,
    SpikeCascadeMaskRCNN,
    SpikeMaskRCNN,
    SpikeRetinaNet,
    roi_heads,
)
from spikedriven.models.detection.heads import (
    SpikeBoxHead,
    SpikeBoxPredictor,
    SpikeMaskHead,
    SpikeMaskPredictor,
    SpikeRetinaHead,
    SpikeRPNHead,
)
from spikedriven.models.detection.parts import MODES, ClippingNeuron, Parts
from spikedriven.models.detection.pyramid import PyramidBackbone, SpikeFPN, pyramid_levels
from spikedriven.models.registry import create_model
from spikedriven.models.staged import make_neurons
from spikedriven.models.tags import stated_by
from spikedriven.neurons import NeuronChoice
from spikedriven.neurons.registry import takes_option
from spikedriven.pictures import check_statistics

#: ImageNet's mean and standard deviation, by the channels of the body: of RGB, and of grey their
#: averages.
STATISTICS = {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.449,), (0.226,))}
#: The strides that the released configurations declare for the pyramid, whatever the body's are.
DECLARED_STRIDES = (4, 8, 16, 32, 64, 128)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """Keywords of `create_detector`."""

    backbone: str = DEFAULT_BODY
    """A registered model name."""
    num_classes: int = 80
    """Classes of objects, background not counted."""
    mode: str = "corrected"
    """"corrected", or "released": the published modules with their defects (docs/detection.md
    lists them).
    """
    backbone_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of the backbone."""
    out_indices: tuple[int, ...] | None = None
    """Taps, into the backbone's feature_info. None: all with stride 4 (RetinaNet: 8) or more."""
    keep_time: bool = False
    """Keep T in neck and heads and merge at their outputs, as SDT-V2 detectors do. False: merge
    at the taps.
    """
    width: int = 256
    """Channels of the pyramid."""
    extra_levels: int | None = None
    """Pyramid levels behind the taps. None: up to stride 64 (RetinaNet: 128)."""
    neuron: NeuronChoice | None = None
    """A registered neuron, for neck and heads. None: integer; LIF in the heads of the released
    RetinaNet.
    """
    levels: int = 4
    """D of integer neurons."""
    tau: float = 2.0
    """Of LIF neurons."""
    head_width: int = 1024
    """Features of the box head."""
    box_convs: int | None = None
    """3x3 convolutions in front of the box head's fully connected layers. None: 0; Cascade Mask
    R-CNN: 4.
    """
    mask_width: int | None = None
    """Channels of the mask head. None: width."""
    convs: int = 4
    """Convolutions in the mask head, or in each branch of RetinaNet."""
    anchor_scales: tuple[float, ...] | None = None
    """Side of the anchors over the stride. None: 8; RetinaNet: 4 * 2^(0, 1/3, 2/3)."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width."""
    finest: float = 56.0
    """RoIs with a side below twice this are read from the finest level; the next doubles it,
    and so on.
    """
    roi_size: int = 7
    """Side of the box head's RoI features; the mask head's are twice as large."""
    roi_sampling: int | None = None
    """Samples per bin and axis of RoIAlign. None: 2; in released mode 0, as many as cells."""
    proposals: int = 1000
    """Proposals per image kept by the region proposal network. In training it looks at twice as
    many, and the Cascade Mask R-CNN keeps twice as many.
    """
    rpn_samples: int = 256
    """Anchors per image in the RPN's loss."""
    roi_samples: int = 512
    """RoIs per image in the heads' losses."""
    score_thresh: float = 0.05
    detections: int = 100
    """Detections kept per image."""
    frozen_norms: bool = False
    """Batch norms of the body keep their statistics and weights."""
    min_size: int = 800
    """Evaluation resizes the short side to this ..."""
    max_size: int = 1333
    """... unless the long side would become larger than this."""
    image_mean: tuple[float, ...] | None = None
    """One value for each channel of the backbone. None: ImageNet's (0.485, 0.456, 0.406), of
    grey (0.449,).
    """
    image_std: tuple[float, ...] | None = None
    """None: (0.229, 0.224, 0.225), of grey (0.226,)."""
    graph_rois: int = 100
    """RoIs per image in the spike graph (audit, energy, ONNX)."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.mode not in MODES:
            raise InputError(f"mode must be one of {MODES}, found {self.mode!r}")
        for name in (
            "num_classes",
            "width",
            "levels",
            "head_width",
            "convs",
            "proposals",
            "rpn_samples",
            "roi_samples",
            "detections",
            "min_size",
            "graph_rois",
            "roi_size",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.box_convs is not None and self.box_convs < 0:
            raise InputError(f"box_convs must be at least 0, found {self.box_convs}")
        if self.max_size < self.min_size:
            raise InputError(
                f"max_size must be at least min_size={self.min_size}, found {self.max_size}"
            )
        for name in ("anchor_scales", "anchor_ratios"):
            _check_sides(name, getattr(self, name))

    @property
    def corrected(self) -> bool:
        return self.mode == "corrected"


def _check_sides(name: str, values: Any) -> None:
    """InputError for anchors without a size."""
    if values is not None and not (values and min(values) > 0):
        raise InputError(f"{name}: expected numbers above 0, found {values!r}")


def create_detector(name: str, **keywords: Any) -> Detector:
    """A detector with random weights.

    name: "mask_rcnn", "cascade_mask_rcnn" or "retinanet"; or NAME.TAG of a published configuration,
    whose keywords are taken where ``keywords`` do not give others. keywords: those of
    `DetectorOptions` (``backbone="e_spikeformer_10m"``, ``num_classes=80``, ``mode="corrected"``
    ...), and the body's time_steps and img_size; InputError for others. Images are lists of [3, H,
    W] in 0..1.
    """
    name, stated = stated_by(name)
    keywords = gathered(stated, keywords)
    if name not in DETECTORS:
        raise InputError(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
    known = {field.name for field in dataclasses.fields(DetectorOptions)}
    for key in keywords.keys() - known:
        raise InputError(f"{name} has no keyword {key!r}; {did_you_mean(key, sorted(known))}")
    tuples: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in keywords.items()
    }
    return DETECTORS[name](DetectorOptions(**tuples))


def _mask_rcnn(options: DetectorOptions) -> Detector:
    backbone, parts, strides = _rcnn_backbone(options)
    first = _rcnn_head(options, parts, strides, STAGES[0], convs=0, fcs=2)
    model = SpikeMaskRCNN(
        backbone, **_proposals(options, parts, strides), **first, **_transform(options, backbone)
    )
    return _described(model, options)


def _cascade_mask_rcnn(options: DetectorOptions) -> Detector:
    backbone, parts, strides = _rcnn_backbone(options)
    heads = [_rcnn_head(options, parts, strides, rule, convs=4, fcs=1) for rule in STAGES]
    proposals = _proposals(options, parts, strides) | {
        "rpn_post_nms_top_n_train": 2 * options.proposals
    }
    later = [roi_heads(head) for head in heads[1:]]
    model = SpikeCascadeMaskRCNN(
        backbone, later, **proposals, **heads[0], **_transform(options, backbone)
    )
    return _described(model, options)


def _rcnn_backbone(options: DetectorOptions) -> tuple[PyramidBackbone, Parts, list[int]]:
    body = _body(options)
    parts = _parts(options, options.neuron or "integer", body)
    backbone, strides = _backbone(
        options, body, parts, least_stride=4, last_stride=64, extra="pool"
    )
    return backbone, parts, strides


def _proposals(options: DetectorOptions, parts: Parts, strides: Sequence[int]) -> dict[str, Any]:
    """torchvision's keywords of the region proposal network."""
    anchors = StrideAnchors(strides, options.anchor_scales or (8.0,), options.anchor_ratios)
    return {
        "rpn_anchor_generator": anchors,
        "rpn_head": SpikeRPNHead(options.width, anchors.num_anchors_per_location()[0], parts),
        "rpn_pre_nms_top_n_train": 2 * options.proposals,
        "rpn_pre_nms_top_n_test": options.proposals,
        "rpn_post_nms_top_n_train": options.proposals,
        "rpn_post_nms_top_n_test": options.proposals,
        "rpn_batch_size_per_image": options.rpn_samples,
    }


def _rcnn_head(
    options: DetectorOptions,
    parts: Parts,
    strides: Sequence[int],
    rule: StageRule,
    convs: int,
    fcs: int,
) -> dict[str, Any]:
    """torchvision's keywords of one box and mask head. convs, fcs: layers of the box head where the
    options are silent.
    """
    roi_strides = strides[:4] if not options.corrected else [s for s in strides if s <= 32]
    sampling = (
        options.roi_sampling if options.roi_sampling is not None else 2 if options.corrected else 0
    )
    pool = partial(PyramidRoIAlign, roi_strides, sampling_ratio=sampling, finest=options.finest)
    mask_width = options.mask_width or options.width
    convs = convs if options.box_convs is None else options.box_convs
    head = SpikeBoxHead(options.width, options.roi_size, options.head_width, parts, convs, fcs)
    return {
        "box_roi_pool": pool(output_size=options.roi_size),
        "box_head": head,
        "box_predictor": SpikeBoxPredictor(options.head_width, options.num_classes, parts),
        "box_fg_iou_thresh": rule.iou,
        "box_bg_iou_thresh": rule.iou,
        "bbox_reg_weights": rule.box_weights,
        "box_score_thresh": options.score_thresh,
        "box_detections_per_img": options.detections,
        "box_batch_size_per_image": options.roi_samples,
        "mask_roi_pool": pool(output_size=2 * options.roi_size),
        "mask_head": SpikeMaskHead(options.width, mask_width, options.convs, parts),
        "mask_predictor": SpikeMaskPredictor(mask_width, options.num_classes, parts),
    }


def _retinanet(options: DetectorOptions) -> Detector:
    body = _body(options)
    parts = _parts(options, options.neuron or ("integer" if options.corrected else "lif"), body)
    backbone, strides = _backbone(
        options, body, parts, least_stride=8, last_stride=128, extra="conv"
    )
    anchors = StrideAnchors(
        strides, options.anchor_scales or octave_scales(), options.anchor_ratios
    )
    per_cell = anchors.num_anchors_per_location()[0]
    model = SpikeRetinaNet(
        backbone,
        options.num_classes,
        anchor_generator=anchors,
        head=SpikeRetinaHead(options.width, options.convs, per_cell, options.num_classes, parts),
        score_thresh=options.score_thresh,
        detections_per_img=options.detections,
        **_transform(options, backbone),
    )
    return _described(model, options)


DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    "mask_rcnn": _mask_rcnn, "cascade_mask_rcnn": _cascade_mask_rcnn, "retinanet": _retinanet,
}  # fmt: skip


def _body(options: DetectorOptions) -> SpikeDrivenModel:
    body = create_model(options.backbone, **{"num_classes": 0, **options.backbone_args})
    if not isinstance(body, SpikeDrivenModel) or len(body.feature_info) == 0:
        raise InputError(
            f"backbone {options.backbone!r} gives no feature maps; choose a classification network"
        )
    return body


def _parts(options: DetectorOptions, kind: NeuronChoice, body: SpikeDrivenModel) -> Parts:
    """The neurons of neck and heads; the released neck has integer neurons that clip at 1 in
    evaluation.
    """
    norm = None if options.corrected else 1.0
    neuron = make_neurons(kind, options.tau, options.levels, norm, "half_even", "inclusive").body
    neck: Any = neuron
    if not options.corrected and takes_option(options.neuron or "integer", "levels"):
        neck = partial(ClippingNeuron, levels=options.levels, norm=norm)
    return Parts(options.mode, neuron, neck, body.time_steps if options.keep_time else 1)


def _backbone(
    options: DetectorOptions,
    body: SpikeDrivenModel,
    parts: Parts,
    least_stride: int,
    last_stride: int,
    extra: str,
) -> tuple[PyramidBackbone, list[int]]:
    """Body with neck, and the strides that anchors and RoIAlign are told."""
    info = body.feature_info
    indices = _taps(info, options.out_indices, least_stride)
    reductions = [info[i]["reduction"] for i in indices]
    if options.corrected:
        levels, strides = pyramid_levels(reductions)
    else:
        start = DECLARED_STRIDES.index(least_stride)
        levels, strides = (
            list(range(len(indices))),
            list(DECLARED_STRIDES[start : start + len(indices)]),
        )
    count = options.extra_levels
    if count is None:
        count = max(0, round(math.log2(last_stride / strides[-1])))
    strides += [strides[-1] * 2 ** (i + 1) for i in range(count)]
    channels = [info[i]["num_chs"] for i in indices]
    neck = SpikeFPN(channels, levels, options.width, parts, count, extra)
    if not options.corrected:
        _xavier(neck)
    return PyramidBackbone(body, indices, neck, options.width, options.keep_time), strides


def _taps(info: Sequence[dict], given: tuple[int, ...] | None, least_stride: int) -> list[int]:
    if given is None:
        given = tuple(i for i, tap in enumerate(info) if tap["reduction"] >= least_stride)
    if not given or list(given) != sorted(set(given)) or not 0 <= given[0] <= given[-1] < len(info):
        strides = [tap["reduction"] for tap in info]
        raise InputError(
            f"out_indices must rise and lie in 0..{len(info) - 1} (strides {strides}), found "
            f"{given}"
        )
    return list(given)


def _xavier(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.xavier_uniform_(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)


def _transform(options: DetectorOptions, backbone: PyramidBackbone) -> dict[str, Any]:
    """torchvision's keywords: training images arrive in their final size."""
    channels = backbone.body.in_chans
    own = STATISTICS.get(channels, ((), ()))
    mean, std = options.image_mean or own[0], options.image_std or own[1]
    if not len(mean) == len(std) == channels:
        raise InputError(
            f"the backbone takes images of {channels} channels, but image_mean and image_std "
            "(data.mean and data.std "
            f"of a recipe) have {len(mean)} and {len(std)} values: give {channels} of each"
        )
    check_statistics(mean, std)
    return {
        "min_size": options.min_size, "max_size": options.max_size, "image_mean": list(mean),
        "image_std": list(std), "_skip_resize": True,
    }  # fmt: skip


def _described(model: Detector, options: DetectorOptions) -> Detector:
    side = (options.min_size, options.min_size)
    model.describe(
        options.num_classes, side, options.frozen_norms, options.graph_rois, not options.corrected
    )
    return model
