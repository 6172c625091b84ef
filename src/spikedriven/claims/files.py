"""Claims that stand beside a published file: its accuracy, and its energy."""

import re
from collections.abc import Iterator

from spikedriven.claims.claim import (
    ESPIKE,
    META,
    QKFORMER,
    SDT,
    SPIKFORMER,
    SPIKINGFORMER,
    WEIGHTS,
    Claim,
)
from spikedriven.models.tags import PublishedFile, find_file, list_files

_REPOSITORIES = {
    "Spike-Driven-Transformer-V2": META,
    "Spike-Driven-Transformer-V3": ESPIKE,
    "Spike-Driven-Transformer": SDT,
    "Spikingformer": SPIKINGFORMER,
    "spikformer": SPIKFORMER,
    "QKFormer": QKFORMER,
}
_NOT_PUBLIC = "no link to the file is public: hand in yours"
#: Where the accuracy is that of larger images: the README does not say at which size energy was
#: counted; that of the network's own size is taken.
_ENERGY_AT = {"sdt_8_768.in1k_288": "sdt_8_768.in1k"}
#: Networks whose energy needs no weights, because the authors give rates or operations; see `rows`.
WITHOUT_WEIGHTS = (
    "spikingformer_8_512",
    "spikingformer_8_768",
    "spikformer_8_384",
    "spikformer_8_512",
    "spikformer_8_768",
)
#: QKFormer's formula is that of Spikingformer: both are by one group.
_CONVENTIONS = {
    SDT: "sdt",
    META: "sdt",
    ESPIKE: "sfa",
    SPIKINGFORMER: "spikingformer",
    QKFORMER: "spikingformer",
}


def publication_of(file: PublishedFile) -> str:
    """By the repository that the source names."""
    return next(found for name, found in _REPOSITORIES.items() if name in file.source)


def claims_of_files() -> Iterator[Claim]:
    """Top-1 accuracy and energy of each published classifier whose source states them."""
    for file in list_files():
        if file.task != "classification" or "third party" in file.published:
            continue
        accuracy = re.search(r"top-1 ([\d.]+) %", file.published)
        if accuracy:
            yield _claim(file, "top-1 accuracy", f"{accuracy[1]} %", "eval", "")
        energy = re.search(r"([\d.]+) mJ", file.published)
        if energy and file.name not in WITHOUT_WEIGHTS:
            convention = f" --convention {_CONVENTIONS[publication_of(file)]}"
            own = find_file(_ENERGY_AT.get(file.full_name, file.full_name))
            yield _claim(own, "energy per image", f"{energy[1]} mJ", "energy", convention)


def _claim(file: PublishedFile, what: str, published: str, command: str, options: str) -> Claim:
    return Claim(
        publication=publication_of(file),
        figure=f"{what} of {file.full_name} on {file.dataset}",
        published=published,
        ours="",
        status=WEIGHTS,
        command=f"spikedriven {command} {file.full_name} --checkpoint {_weights(file)} --data "
        f"{file.dataset}{options}",
        why="" if file.url else _NOT_PUBLIC,
    )


def _weights(file: PublishedFile) -> str:
    return "authors" if file.url else "FILE"
