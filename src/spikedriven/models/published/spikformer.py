"""Files of Spikformer (ICLR 2023): none is public; these are the trainings that the paper reports.

Heads: the release builds one ImageNet network, 8-512 with 8, and states 12 for CIFAR; the paper
says 16 for CIFAR10-DVS and 8 for DVS128 Gesture. How many the other two ImageNet networks have
stands nowhere, so their tags leave that open. Energies are those of the paper on arXiv; the one of
the conference has other ones (docs/families/spikformer.md).
"""

from typing import Any

from spikedriven.models.published.checks import CODE, CONFIGURATION, WIDTH
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/ZK-Zhou/spikformer"
_SOURCE = f"tables of arXiv 2209.15425; code: {_REPOSITORY}"
_LICENCE = "MIT (the repository's; no file is public)"


def _file(
    name: str,
    tag: str,
    args: dict[str, Any],
    published: str,
    checked: str,
    **fields: Any,
) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag=tag,
        args={"time_steps": 4} | args,
        published=published,
        checked=checked,
        crop_pct=1.0,
        licence=_LICENCE,
        source=_SOURCE,
        **fields,
    )


def _cifar(tag: str, top1: float) -> PublishedFile:
    hundred = tag.startswith("cifar100")
    of_ten = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
    of_hundred = {"mean": (0.5071, 0.4867, 0.4408), "std": (0.2675, 0.2565, 0.2761)}
    return _file(
        "spikformer_4_384_cifar",
        tag,
        {"num_heads": 12},
        f"top-1 {top1:.2f} %",
        CONFIGURATION if hundred else CODE,
        dataset="cifar100" if hundred else "cifar10",
        num_classes=100 if hundred else 10,
        input_size=(3, 32, 32),
        **(of_hundred if hundred else of_ten),
    )


def _events(
    tag: str,
    time_steps: int,
    num_heads: int,
    top1: float,
    **fields: Any,
) -> PublishedFile:
    return _file(
        "spikformer_2_256_dvs",
        tag,
        {"time_steps": time_steps, "num_heads": num_heads},
        f"top-1 {top1:.1f} %",
        CONFIGURATION,
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
    _file("spikformer_8_384", "in1k", {}, "top-1 70.24 %, 7.73 mJ", WIDTH),
    _file("spikformer_8_512", "in1k", {"num_heads": 8}, "top-1 73.38 %, 11.58 mJ", WIDTH),
    _file("spikformer_8_768", "in1k", {}, "top-1 74.81 %, 21.48 mJ", WIDTH),
    _cifar("cifar10", 95.19),
    _cifar("cifar10_400e", 95.51),
    _cifar("cifar100", 77.86),
    _cifar("cifar100_400e", 78.21),
    _events("cifar10dvs_t10", 10, 16, 78.9, **_CIFAR10_DVS),
    _events("cifar10dvs_t16", 16, 16, 80.9, **_CIFAR10_DVS),
    _events("gesture_t10", 10, 8, 96.9, **_GESTURE),
    _events("gesture_t16", 16, 8, 98.3, **_GESTURE),
)
