"""What a run stores about its data: the names of its classes, and whether the samples are the
same.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from spikedriven.data.contract import DataSection
from spikedriven.errors import InputError


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Of the train samples of a data set.

    dataset: its name. classes: names by label (of objects, of a detection set). samples: how many.
    fingerprint: another one for other files or labels, wherever the folder lies. several_labels:
    whether a sample may have any number of them.
    """

    dataset: str
    classes: tuple[str, ...]
    samples: int
    fingerprint: str
    several_labels: bool = False

    def __str__(self) -> str:
        shown = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return f"{self.samples} samples of {len(self.classes)} classes ({shown})"


def record_of(cfg: DataSection, dataset: Any) -> DataRecord:
    """dataset: what an epoch goes through, `TrainLoader.dataset`."""
    return DataRecord(
        dataset=cfg.dataset,
        classes=tuple(map(str, dataset.classes)),
        samples=len(dataset),
        fingerprint=fingerprint(dataset),
        several_labels=getattr(dataset, "several_labels", False),
    )


def fingerprint(dataset: Any) -> str:
    """Of what the set's `identity` says, else of its length and labels."""
    digest = hashlib.blake2b(digest_size=16)
    for part in identity(dataset):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def identity(dataset: Any) -> tuple[bytes, ...]:
    """Bytes that differ where the samples do: names of files below the set's folder, and labels."""
    own = getattr(dataset, "identity", None)
    if own is not None:
        return own()
    targets = getattr(dataset, "targets", None)
    return (str(len(dataset)).encode(), b"" if targets is None else targets.tobytes())


def check_classes(expected: tuple[str, ...], found: tuple[str, ...], what: str) -> None:
    """InputError where a network was trained on other classes than those of the data that it is
    evaluated on. expected: empty where nobody knows. what: the data, for the message."""
    if not expected or expected == found:
        return
    first = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b),
        min(len(expected), len(found)),
    )
    names = [repr(names[first]) if first < len(names) else "none" for names in (expected, found)]
    raise InputError(
        f"{what} has other classes than the network was trained on, or another order of them: "
        "output "
        f"{first} is {names[0]} there and {names[1]} here ({len(expected)} and {len(found)} "
        "classes). "
        "A figure would mean nothing: evaluate on data with the same classes"
    )
