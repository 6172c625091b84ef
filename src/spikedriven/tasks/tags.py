"""Several labels per picture: average precision and F1 of each class.

Average precision is the area under the steps of precision over recall, each step where the score
falls; mAP is its mean over the classes that have a picture. F1 is that of the label that is given
where its probability is 1/2 or more. All in per cent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.runs.distributed import World, gather

#: A logit of 0 is the probability 1/2.
GIVEN = 0.0


@dataclass(frozen=True)
class Tags:
    """scores: logits float64 [N, K]; labels: bool [N, K]."""

    scores: np.ndarray
    labels: np.ndarray

    @property
    def count(self) -> int:
        """Pictures."""
        return len(self.scores)

    @property
    def loss(self) -> float:
        """Mean binary cross entropy."""
        logits, labels = torch.from_numpy(self.scores), torch.from_numpy(self.labels).double()
        return float(F.binary_cross_entropy_with_logits(logits, labels))

    def precision(self) -> np.ndarray:
        """Average precision of each class, float64 [K]; nan for a class without a picture."""
        pairs = zip(self.scores.T, self.labels.T, strict=True)
        return np.array([average_precision(scores, labels) for scores, labels in pairs])

    def f1(self) -> np.ndarray:
        """Of each class, float64 [K]; nan for one that is neither there nor ever given."""
        given = self.scores >= GIVEN
        hits, both = (given & self.labels).sum(0), given.sum(0) + self.labels.sum(0)
        with np.errstate(invalid="ignore"):
            return 200 * hits / both

    @property
    def mean_precision(self) -> float:
        """mAP."""
        return float(np.nanmean(self.precision()))

    @property
    def macro_f1(self) -> float:
        """Mean over the classes."""
        return float(np.nanmean(self.f1()))

    @property
    def micro_f1(self) -> float:
        """Of all labels together."""
        given = self.scores >= GIVEN
        both = given.sum() + self.labels.sum()
        return float(200 * (given & self.labels).sum() / both) if both else 0.0

    def figures(self) -> dict[str, float]:
        """What a run says of itself; `map` picks its best checkpoint."""
        return {
            "map": self.mean_precision,
            "f1": self.macro_f1,
            "micro_f1": self.micro_f1,
            "loss": self.loss,
        }


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Per cent, of scores [N] and labels bool [N]; pictures of one score count together."""
    positives = int(labels.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    found, ranked = np.cumsum(labels[order]), scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of pictures with one score
    hits, seen = found[last], np.flatnonzero(last) + 1
    return float(100 * (np.diff(hits, prepend=0) * hits / seen).sum() / positives)


def measure_tags(model: nn.Module, loader: Iterable[Any], num_classes: int, world: World) -> Tags:
    """Run `model` (as it is: set eval mode and autocast outside) over (images [B, ...], labels
    float [B, K]) batches of all processes. Per-step logits [T, B, K] are averaged over T first.
    """
    rows: list[tuple[Tensor, Tensor]] = []
    for images, labels in loader:
        output = model(images.to(world.device, non_blocking=True))
        logits = output.mean(0) if output.ndim == 3 else output
        if logits.shape[1] != num_classes:
            raise InputError(
                f"the model tells {logits.shape[1]} classes apart, the data set has {num_classes}"
            )
        rows.append((logits.double().cpu(), labels.bool()))
    shares = [row for share in gather(rows, world) for row in share]
    if not shares:
        raise InputError("no picture came out of the loader: there is nothing to evaluate")
    scores, found = (torch.cat(parts).numpy() for parts in zip(*shares, strict=True))
    return Tags(scores, found)
