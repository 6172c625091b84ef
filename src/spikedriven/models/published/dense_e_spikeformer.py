"""Detectors and segmenters with an E-SpikeFormer body: configurations of SDT-V3, of which no
trained file is public.

Their READMEs link the ImageNet classifiers that training starts from: `e_spikeformer_10m.in1k_1x4`
and `e_spikeformer_19m.in1k_1x4`.
"""

from typing import Any

from spikedriven.models.published.checks import CONFIGURATION
from spikedriven.models.tags import PublishedFile, register_files

#: 1x4 in the body as well as behind it.
_NEURONS: dict[str, Any] = {"neuron": "integer", "levels": 4, "backbone_args": {"levels": 4}}
_REPOSITORY = "https://github.com/BICLab/Spike-Driven-Transformer-V3"


def _detector(name: str, size: str, configuration: str, **args: Any) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag=f"e_spikeformer_{size}_coco",
        task="detection",
        dataset="coco2017",
        num_classes=80,
        args={"backbone": f"e_spikeformer_{size}", "mode": "released", **_NEURONS, **args},
        input_size=(3, 800, 1333),
        crop_pct=1.0,
        interpolation="bilinear",
        checked=CONFIGURATION,
        source=f"{_REPOSITORY}, SDT_V3/Detection/configs/sdeformer_mask_rcnn/{configuration}.py",
    )


def _segmenter(size: str) -> PublishedFile:
    return PublishedFile(
        name="semantic_fpn",
        tag=f"e_spikeformer_{size}_ade20k",
        task="segmentation",
        dataset="ade20k",
        num_classes=150,
        args={"backbone": f"e_spikeformer_{size}", "mode": "released", "width": 128, **_NEURONS},
        input_size=(3, 512, 512),
        crop_pct=1.0,
        interpolation="bilinear",
        checked=CONFIGURATION,
        source=f"{_REPOSITORY}, "
        f"SDT_V3/Segmentation/configs/EFSDTv2/fpn_sdtv3_512x512_{size.upper()}_ade20k.py",
    )


register_files(
    _detector("mask_rcnn", "10m", "mask-rcnn_sdeformer-s_fpn_1x_coco", width=192, head_width=768),
    _detector("mask_rcnn", "19m", "mask-rcnn_sdeformer_fpn_1x_coco", width=256, head_width=1024),
    _detector(
        "cascade_mask_rcnn",
        "19m",
        "cascade_mask-rcnn_sdeformer_fpn_1x_coco",
        width=256,
        head_width=1024,
    ),
    _segmenter("10m"),
    _segmenter("19m"),
)
