"""Files of Spike-driven Transformer (NeurIPS 2023): five on ImageNet are public, the others are in
its configurations.

The events of DVS128 Gesture and CIFAR10-DVS come through SpikingJelly there: classes sorted as
text, and for CIFAR10-DVS the first nine tenths of each class as training part.
"""

from typing import Any

from spikedriven.models.published.checks import CODE, WIDTH
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/BICLab/Spike-Driven-Transformer"
_DRIVE = "https://drive.google.com/file/d/{}/view"
_LICENCE = "Apache-2.0 (the repository's; nothing is said of the files)"
_CIFAR10: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
_CIFAR100: dict[str, Any] = {"mean": (0.5071, 0.4867, 0.4408), "std": (0.2675, 0.2565, 0.2761)}


def _imagenet(
    name: str, published: str, drive_id: str, checked: str = CODE, **fields: Any
) -> PublishedFile:
    """T 4. Resize to 224 / 0.95 and crop, bicubic, unless ``fields`` say otherwise."""
    settings: dict[str, Any] = {"tag": "in1k", "crop_pct": 0.95} | fields
    return PublishedFile(
        name=name, args={"time_steps": 4}, published=published, source=f"README of {_REPOSITORY}",
        url=_DRIVE.format(drive_id), licence=_LICENCE, checked=checked, **settings,
    )  # fmt: skip


def _configured(
    name: str, tag: str, configuration: str, time_steps: int = 4, **fields: Any
) -> PublishedFile:
    """A file that a configuration of the release trains, and that nobody has made public."""
    return PublishedFile(
        name=name, tag=tag, args={"time_steps": time_steps}, crop_pct=1.0, licence=_LICENCE,
        source=f"conf/{configuration}.yml of {_REPOSITORY}", checked=CODE, **fields,
    )  # fmt: skip


def _cifar(name: str, tag: str, configuration: str) -> PublishedFile:
    hundred = configuration.startswith("cifar100")
    return _configured(
        name,
        tag,
        configuration,
        dataset="cifar100" if hundred else "cifar10",
        num_classes=100 if hundred else 10,
        input_size=(3, 32, 32),
        **(_CIFAR100 if hundred else _CIFAR10),
    )


_EVENTS: dict[str, Any] = {"mean": (0.0, 0.0), "std": (1.0, 1.0), "interpolation": "bilinear"}
_GESTURE: dict[str, Any] = _EVENTS | {
    "dataset": "dvs128-gesture",
    "num_classes": 11,
    "class_order": "as_text",
    "input_size": (2, 128, 128),
}
#: The larger images of its README: Resize(320), CenterCrop(288), with torchvision's interpolation.
_LARGE: dict[str, Any] = {
    "tag": "in1k_288",
    "input_size": (3, 288, 288),
    "crop_pct": 0.9,
    "interpolation": "bilinear",
}
_8_768 = "1R-MaeFV8d2Y0pIGBSjklOGWhaF8dLHf4"

register_files(
    _imagenet("sdt_8_384", "top-1 72.28 %, 3.90 mJ", "10oH_zkwB4FDtFLgmZ_lI8e0tFjRzrXyD"),
    _imagenet("sdt_6_512", "top-1 74.11 %, 3.56 mJ", "1hsShpFBKYpMK2TmpuoyBFORcLAuMHrx7"),
    _imagenet("sdt_8_512", "top-1 74.57 %, 4.50 mJ", "1n59WNSBgP2VyAW2nfJX2Wvx5rgNJEMXI"),
    _imagenet("sdt_10_512", "top-1 74.66 %, 5.53 mJ", "1l-c3QY5r4IFmYUmGPZXRHP_W7iC1sdP8", WIDTH),
    _imagenet("sdt_8_768", "top-1 77.07 %, 6.09 mJ", _8_768, WIDTH, **_LARGE),
    _imagenet("sdt_8_768", "", _8_768, WIDTH),
    _cifar("sdt_2_256_cifar", "cifar10", "cifar10/2_256_300E_t4"),
    _cifar("sdt_2_512_cifar", "cifar10", "cifar10/2_512_300E_t4"),
    _cifar("sdt_2_512_cifar", "cifar10_tet", "cifar10/2_512_300E_t4_TET"),
    _cifar("sdt_2_256_cifar", "cifar100", "cifar100/2_256_300E_t4"),
    _cifar("sdt_2_512_cifar", "cifar100", "cifar100/2_512_300E_t4"),
    _configured("sdt_2_256_gesture", "gesture_t10", "gesture/2_256_200E_t10", 10, **_GESTURE),
    _configured("sdt_2_256_gesture", "gesture_t16", "gesture/2_256_200E_t16", 16, **_GESTURE),
    _configured(
        "sdt_2_256_cifar10dvs",
        "cifar10dvs_t10_tet",
        "cifar10-dvs/2_256_200E_t10_TET",
        10,
        dataset="cifar10-dvs",
        num_classes=10,
        split="authors",
        input_size=(2, 64, 64),
        **_EVENTS,
    ),
)
