"""Files of QKFormer (NeurIPS 2024): those on ImageNet are public, behind links with a password.

All were trained with the last neurons of the self-attention running over time and batch merged, and
their figures are of that form, at the batch size of the release's test script
(``released_time_axis``; docs/families/qkformer.md). The mini network for event cameras is not in
this package.
"""

from typing import Any

from spikedriven.models.published.checks import CODE, CONFIGURATION, WIDTH
from spikedriven.models.tags import PublishedFile, register_files

_REPOSITORY = "https://github.com/zhouchenlin2096/QKFormer"
_BAIDU = "https://pan.baidu.com/s/{}?pwd=abcd"


def _file(
    name: str,
    tag: str,
    published: str,
    checked: str,
    link: str = "",
    source: str = f"README of {_REPOSITORY}",
    **fields: Any,
) -> PublishedFile:
    return PublishedFile(
        name=name,
        tag=tag,
        args={"time_steps": 4, "released_time_axis": True},
        published=published,
        checked=checked,
        source=source,
        url=_BAIDU.format(link) if link else "",
        **fields,
    )


def _large(size: int, top1: float, energy: float, link: str) -> PublishedFile:
    """The 768-wide network on larger images, which are squeezed and not cropped."""
    return _file(
        "qkformer_10_768",
        f"in1k_{size}",
        f"top-1 {top1} %, {energy} mJ",
        WIDTH,
        link,
        input_size=(3, size, size),
        crop_pct=1.0,
    )


def _cifar(tag: str, top1: float, checked: str) -> PublishedFile:
    return _file(
        "qkformer_4_384_cifar",
        tag,
        f"top-1 {top1} %",
        checked,
        source=f"table of arXiv 2403.16552; configurations of {_REPOSITORY}",
        dataset=tag,
        num_classes=100 if tag == "cifar100" else 10,
        input_size=(3, 32, 32),
        crop_pct=1.0,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


register_files(
    _file("qkformer_10_384", "in1k", "top-1 78.80 %, 15.13 mJ", CODE, "1mX0jQyKZ5p6ZDzvMVeY20A"),
    _file("qkformer_10_512", "in1k", "top-1 82.04 %, 21.99 mJ", WIDTH, "1luWM1L8gV3BI7REh4MgbkA"),
    _file("qkformer_10_768", "in1k", "top-1 84.22 %, 38.91 mJ", WIDTH, "1WJW1wC0Vs-lvGjYr5pGV_w"),
    _large(288, 85.25, 64.27, "1UaqY98UqJPJbosKfY103Jg"),
    _large(384, 85.65, 113.64, "1gRAZR9gkMr5ScHK-kwZAnw"),
    _cifar("cifar10", 96.18, CONFIGURATION),
    _cifar("cifar100", 81.15, CONFIGURATION),
)
