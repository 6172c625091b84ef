"""Files of Spikingformer (arXiv 2304.11954): two are public, behind links with a password.

The heads of its CIFAR networks are those of the two configurations of the release: 12 for CIFAR-10,
8 for CIFAR-100, at 4 blocks of width 384. For the other widths nothing says how many there are, so
these tags leave them open. Its CIFAR-100 network was trained with the statistics of CIFAR-10.
"""

from typing import Any

from spikedriven.models.published.checks import CODE, WIDTH
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/zhouchenlin2096/Spikingformer"
_LICENCE = "Apache-2.0 (the repository's; nothing is said of the files)"
_HEADS_OPEN = "the release does not say how many heads; " + WIDTH
#: Of both sets in the release.
_CIFAR_STATISTICS = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


def _file(
    name: str, tag: str, args: dict[str, Any], published: str, checked: str, **fields: Any
) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag=tag,
        args=args,
        published=published,
        checked=checked,
        crop_pct=1.0,
        licence=_LICENCE,
        source=f"README of {_REPOSITORY}",
        **fields,
    )


def _imagenet(name: str, published: str, checked: str, url: str = "") -> PublishedFile:
    return _file(name, "in1k", {"time_steps": 4, "num_heads": 8}, published, checked, url=url)


def _cifar(
    name: str, tag: str, top1: float, num_heads: int | None = None, **fields: Any
) -> PublishedFile:
    hundred = tag.startswith("cifar100")
    args = {"time_steps": 4} | ({} if num_heads is None else {"num_heads": num_heads})
    return _file(
        name,
        tag,
        args,
        f"top-1 {top1:.2f} %",
        CODE if num_heads else _HEADS_OPEN,
        dataset="cifar100" if hundred else "cifar10",
        num_classes=100 if hundred else 10,
        input_size=(3, 32, 32),
        **_CIFAR_STATISTICS,
        **fields,
    )


def _events(tag: str, time_steps: int, top1: float, **fields: Any) -> PublishedFile:
    """16 heads and a time constant of 1.5 are written into the release's code."""
    return _file(
        "spikingformer_2_256_dvs",
        tag,
        {"time_steps": time_steps, "num_heads": 16, "tau": 1.5},
        f"top-1 {top1:.1f} %",
        CODE,
        input_size=(2, 128, 128),
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        interpolation="bilinear",
        **fields,
    )


#: SpikingJelly's: classes sorted as text; of CIFAR10-DVS the first nine tenths of each class train.
_GESTURE: dict[str, Any] = {
    "dataset": "dvs128-gesture",
    "num_classes": 11,
    "class_order": "as_text",
}
_CIFAR10_DVS: dict[str, Any] = {"dataset": "cifar10-dvs", "num_classes": 10, "split": "authors"}

register_files(
    _imagenet("spikingformer_8_384", "top-1 72.45 %, 4.69 mJ", CODE),
    _imagenet("spikingformer_8_512", "top-1 74.79 %, 7.46 mJ", CODE),
    _imagenet(
        "spikingformer_8_768", "top-1 75.85 %, 13.68 mJ", WIDTH,
        "https://pan.baidu.com/s/1LsECpFOxh30O3vHWow8OGQ?pwd=abcd",
    ),
    _cifar("spikingformer_4_256_cifar", "cifar10", 94.77),
    _cifar("spikingformer_4_256_cifar", "cifar100", 77.43),
    _cifar("spikingformer_2_384_cifar", "cifar10", 95.22),
    _cifar("spikingformer_2_384_cifar", "cifar100", 78.34),
    _cifar("spikingformer_4_384_cifar", "cifar10", 95.61, 12),
    _cifar("spikingformer_4_384_cifar", "cifar100", 79.09, 8),
    _cifar(
        "spikingformer_4_384_cifar", "cifar10_400e", 95.81, 12,
        url="https://pan.baidu.com/s/1mjpD2gtz5ZX0M8N3jobjzA?pwd=abcd",
    ),
    _cifar("spikingformer_4_384_cifar", "cifar100_400e", 79.21, 8),
    _events("cifar10dvs_t10", 10, 79.9, **_CIFAR10_DVS),
    _events("cifar10dvs_t16", 16, 81.3, **_CIFAR10_DVS),
    _events("gesture_t10", 10, 96.2, **_GESTURE),
    _events("gesture_t16", 16, 98.3, **_GESTURE),
)  # fmt: skip
