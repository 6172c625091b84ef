"""Detectors and segmenters with a Meta-SpikeFormer body: configurations of SDT-V2, kept in the
repository of SDT-V3.

No trained file is public. Two file names in the configurations hold a number without a metric:
0.440 (15M) and 0.466 (55M). T is kept to the outputs. The neurons of the segmenters are LIF; which
ones neck and heads of the Mask R-CNNs had is recorded nowhere, so their tags leave ``neuron`` open.
"""

from typing import Any

from spikedriven.models.published.checks import CONFIGURATION
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/BICLab/Spike-Driven-Transformer-V3"
_DETECTION = f"{_REPOSITORY}, SDT_V3/Detection/configs"
_SEGMENTATION = f"{_REPOSITORY}, SDT_V3/Segmentation/configs/sem_sdt"
#: Outputs, whatever the data set: the configurations for VOC kept those of ADE20K.
_OUTPUTS = 150
#: Channels of the pyramid; those of the 55M network are twice as many.
_WIDTHS = {"15m": 128, "55m": 256}


def _body(size: str, time_steps: int) -> dict[str, Any]:
    return {
        "backbone": f"meta_spikeformer_{size}", "mode": "released", "keep_time": True,
        "backbone_args": {"time_steps": time_steps},
    }  # fmt: skip


def _detector(
    name: str, size: str, configuration: str, published: str = "", filename: str = "", **args: Any
) -> PublishedFile:  # fmt: skip
    return PublishedFile(
        name=name,
        tag=f"meta_spikeformer_{size}_coco_t1",
        task="detection",
        dataset="coco2017",
        num_classes=80,
        args=_body(size, 1) | {"width": 256} | args,
        input_size=(3, 800, 1333),
        crop_pct=1.0,
        interpolation="bilinear",
        published=published,
        filename=filename,
        checked=CONFIGURATION,
        source=f"{_DETECTION}/{configuration}.py",
    )


def _segmenter(
    size: str,
    dataset: str,
    time_steps: int,
    configuration: str,
    name: str = "semantic_fpn",
    **args: Any,
) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag=f"meta_spikeformer_{size}_{dataset}_t{time_steps}",
        task="segmentation",
        dataset=dataset,
        args=_body(size, time_steps) | {"width": _WIDTHS[size], "neuron": "lif"} | args,
        num_classes=_OUTPUTS,
        input_size=(3, 512, 512),
        crop_pct=1.0,
        interpolation="bilinear",
        checked=CONFIGURATION,
        source=f"{_SEGMENTATION}/{configuration}.py",
    )


register_files(
    _detector(
        "mask_rcnn",
        "15m",
        "sdt_mask_rcnn/mask-rcnn_sdt-t_fpn_1x_coco",
        head_width=1024,
        published="0.440, in the file's name; metric not said",
        filename="t1_adamw_0.440_15m.pth",
    ),
    _detector(
        "mask_rcnn",
        "55m",
        "_base_/default_runtime",
        head_width=1024,
        published="0.466 after 12 epochs, in the file's name; metric not said",
        filename="t1_adamw_resume_0.466_55m_epoch_12.pth",
    ),
    _detector(
        "cascade_mask_rcnn",
        "15m",
        "sdt_mask_rcnn/cascade_mask-rcnn_sdt-t_fpn_1x_coco",
        head_width=1024,
    ),
    _detector(
        "retinanet", "15m", "sdt_mask_rcnn/retina_sdt-t_fpn_1x_coco", neuron=None
    ),  # LIF in its heads
    _segmenter("15m", "ade20k", 1, "fpn_SDT_512x512_384_ade20k"),
    _segmenter("15m", "ade20k", 4, "fpn_SDT_512x512_15M_T4_ade20k"),
    _segmenter("55m", "ade20k", 1, "fpn_SDT_512x512_512_ade20k"),
    _segmenter("55m", "ade20k", 4, "fpn_SDT_512x512_55M_T4_ade20k"),
    _segmenter("15m", "voc2012", 1, "fpn_SDT_512x512_384_voc2012"),
    _segmenter("15m", "voc2012", 4, "fpn_SDT_512x512_15M_T4_voc2012"),
    _segmenter("55m", "voc2012", 1, "fpn_SDT_512x512_512_voc2012"),
    _segmenter("55m", "voc2012", 4, "fpn_SDT_512x512_55M_T4_voc2012"),
    _segmenter("15m", "voc12aug", 1, "fpn_SDT_512x512_384_voc12aug"),
    _segmenter("55m", "voc12aug", 1, "fpn_SDT_512x512_512_voc12aug"),
    _segmenter("15m", "ade20k", 4, "fcn_SDT_512x512_512_ade20k", "fcn", width=360),
)
