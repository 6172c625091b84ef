"""Files of E-SpikeFormer (SDT-V3, TPAMI 2025): base, large and events, and the large ones'
pre-training.

"1x4" is T x D: one time step, integers up to 4 (``levels``). Whether a large file has the second
head of distillation, and whether its further branch can run, the file tells. No link of a
pre-trained file is public, and nothing says how many levels it had: its tags leave them open.
"""

from typing import Any

from spikedriven.models.published.checks import CODE, WIDTH
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/BICLab/Spike-Driven-Transformer-V3"
_CLASSIFICATION = f"{_REPOSITORY}, SDT_V3/Classification"
_DRIVE = "https://drive.google.com/file/d/{}/view"
_EVENTS: dict[str, Any] = {
    "mean": (0.0, 0.0),
    "std": (1.0, 1.0),
    "source": f"{_REPOSITORY}, SDT_V3/DVS/Hardvs",
    "checked": CODE,
}


def _base(name: str, drive_id: str, published: str, checked: str) -> PublishedFile:
    """Resize to 232 and crop 224, bicubic, as in its evaluation."""
    return PublishedFile(
        name=name,
        tag="in1k_1x4",
        args={"levels": 4},
        crop_pct=224 / 232,
        published=published,
        source=f"{_CLASSIFICATION}/Model_Base/Train_Base.md",
        url=_DRIVE.format(drive_id),
        checked=checked,
    )


def _large(
    name: str, levels: int, drive_id: str, published: str = "", side: int = 224
) -> PublishedFile:
    """Above 224 pixels its evaluation resizes to the side itself and crops nothing."""
    return PublishedFile(
        name=name,
        tag=f"mae_in1k_1x{levels}" + ("" if side == 224 else f"_{side}"),
        args={"levels": levels},
        input_size=(3, side, side),
        crop_pct=224 / 232 if side == 224 else 1.0,
        published=published,
        source=f"{_CLASSIFICATION}/Model_Large/Train_Large.md",
        url=_DRIVE.format(drive_id) if drive_id else "",
        checked=CODE,
    )


def _pretrained(name: str, checked: str) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag="in1k",
        task="pretraining",
        num_classes=None,
        crop_pct=1.0,
        source=f"{_CLASSIFICATION}/Model_Large/Train_Large.md (the command that makes it)",
        checked=checked,
    )


register_files(
    _base("e_spikeformer_5m", "1LMkOTPehDNpQE79bvB7jFTf6UzDjpAHQ", "", CODE),
    _base("e_spikeformer_10m", "1pHrampLjyE1kLr-4DS1WgSdnCVPzL6Tq", "top-1 78.5 %", WIDTH),
    _base("e_spikeformer_19m", "1pSGCOzrZNgHDxQXAp-Uelx61snIbQC1H", "top-1 79.8 %", CODE),
    _large("e_spikeformer_83m", 4, "1f9pFflYcMacnYJc2u8cHcgMqdibv8wAO"),
    _large("e_spikeformer_83m", 8, "1sh4F9LWFbKIgIVa2u0QaixBWIcbDZ7h_", "top-1 84.0 %"),
    _large("e_spikeformer_83m", 8, "", side=384),
    _large("e_spikeformer_171m", 4, "1sJAjirbjVaB7gLSybvy2Xz2wwQl6gZk7"),
    _large("e_spikeformer_171m", 8, "18bcS2jQD41JyoJAW9lhZOkTgUb79uShf"),
    _large("e_spikeformer_171m", 8, "1ooNGJRTi869e0ApZm8Oc84Mq02uXXyA8", "top-1 86.2 %", side=384),
    _pretrained("spike_mae_12_512", CODE),
    _pretrained("spike_mae_12_768", WIDTH),
    PublishedFile(
        name="e_spikeformer_hardvs_19m",
        tag="hardvs_t8_d4",
        args={"time_steps": 8, "levels": 4},
        dataset="har-dvs",
        num_classes=300,
        input_size=(2, 224, 224),
        crop_pct=0.875,
        **_EVENTS,
    ),
    PublishedFile(
        name="e_spikeformer_gesture_6m",
        tag="gesture_t8_d4",
        args={"time_steps": 8, "levels": 4},
        dataset="dvs128-gesture",
        num_classes=11,
        class_order="as_text",
        input_size=(2, 128, 128),
        crop_pct=1.0,
        interpolation="bilinear",
        **_EVENTS,
    ),
)
