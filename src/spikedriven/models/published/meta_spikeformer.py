"""Files of Meta-SpikeFormer (SDT-V2, ICLR 2024): those of the 55M network are public, in a folder
of Google Drive.

The README says no more of that folder than that it holds checkpoints and logs of 55M. Which file is
which, its names tell; whether a file has the second head of distillation, its keys tell.
"""

from typing import Any

from spikedriven.models.published.checks import CODE
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/BICLab/Spike-Driven-Transformer-V2"
_FOLDER = "https://drive.google.com/drive/folders/12JcIRG8BF6JcgPsXIetSS14udtHXeSSx"


def _imagenet(
    name: str, tag: str, time_steps: int, distilled: bool = False, **fields: Any
) -> PublishedFile:
    """Resize to 256 and crop, bicubic, as in its evaluation."""
    args = {"time_steps": time_steps} | ({"distilled": True} if distilled else {})
    return PublishedFile(
        name=name, tag=tag, args=args, crop_pct=0.875,
        source=f"README of {_REPOSITORY}", checked=CODE, **fields,
    )  # fmt: skip


register_files(
    _imagenet("meta_spikeformer_55m", "in1k_t1", 1, url=_FOLDER),
    _imagenet(
        "meta_spikeformer_55m",
        "in1k_kd_t4",
        4,
        distilled=True,
        url=_FOLDER,
        published="top-1 80.0 %",
    ),
    _imagenet("meta_spikeformer_15m", "in1k_t1", 1),
    _imagenet("meta_spikeformer_15m", "in1k_t4", 4),
    _imagenet("meta_spikeformer_31m", "in1k_t1", 1),
    _imagenet(
        "meta_spikeformer_31m",
        "in1k_t4",
        4,
        published="top-1 77.2 % (paper, by a third party's report)",
    ),
    PublishedFile(
        name="meta_spikeformer_hardvs_18m",
        tag="hardvs_t8",
        args={"time_steps": 8},
        dataset="har-dvs",
        num_classes=300,
        input_size=(2, 224, 224),
        crop_pct=0.875,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        source="DVS/Hardvs of https://github.com/BICLab/Spike-Driven-Transformer-V3",
        checked=CODE,
    ),
)
