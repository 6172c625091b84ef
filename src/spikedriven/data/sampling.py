"""Which samples an epoch has, and how often: each once, all classes alike, or each several times in
a row (repeated augmentation). A function of (seed, epoch), so that a run resumes exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spikedriven.data.order import epoch_order
from spikedriven.data.seeding import permutation

#: Repeated augmentation draws a whole multiple of so many samples in an epoch, as timm and DeiT do.
SELECTED_ROUND = 256


@dataclass(frozen=True, eq=False)
class Sampling:
    """length: samples of the set. repeats: how often each comes in a row. targets: labels int64
    `[N]` where all classes are to come equally often, else None."""

    length: int
    repeats: float = 1.0
    targets: np.ndarray | None = None
    shards: Sequence[int] | np.ndarray | None = None

    @property
    def selected(self) -> int:
        """Samples in an epoch. Also with repeats as many as the set has (rounded down to a multiple
        of 256 where it has as many): an epoch then sees a part of the set, and each of it several
        times."""
        rounded = self.length // SELECTED_ROUND * SELECTED_ROUND
        return rounded if self.repeats > 1 and rounded else self.length

    def epoch(self, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(indices, copies), int64 `[selected]`: copy k of a sample is its k-th in this epoch, from
        0."""
        if self.targets is None:
            order = epoch_order(self.length, seed, epoch, self.shards)
        else:
            order = balanced_order(self.targets, seed, epoch)
        if self.repeats > 1:
            places = torch.arange(math.ceil(self.length * self.repeats))[: self.selected]
            order = order[(places / self.repeats).long()]
        elif self.targets is None:
            return order, torch.zeros_like(order)
        return order, earlier(order)


def balanced_order(targets: np.ndarray, seed: int, epoch: int) -> torch.Tensor:
    """As many samples as there are, int64 `[N]`, the same number of each class that has any (or one
    more).

    A class with fewer samples repeats them, each as often as the others or once more; of one with
    more the epoch has a part, drawn anew in each.
    """
    labels, members = np.unique(targets), []
    extra = set(
        permutation(len(labels), "one more", seed, epoch)[: len(targets) % len(labels)].tolist()
    )
    for number, label in enumerate(labels.tolist()):
        wanted = len(targets) // len(labels) + (number in extra)
        own = torch.from_numpy(np.flatnonzero(targets == label))
        rounds = math.ceil(wanted / len(own))
        shuffles = [
            own[permutation(len(own), "balanced", seed, epoch, label, n)] for n in range(rounds)
        ]
        members.append(torch.cat([*shuffles, own[:0]])[:wanted])
    drawn = torch.cat(members)
    return drawn[permutation(len(drawn), "order", seed, epoch)]


def earlier(order: torch.Tensor) -> torch.Tensor:
    """How often the value at each place came before it, int64 of the same length."""
    by_value = torch.argsort(order, stable=True)
    starts = torch.searchsorted(order[by_value], order[by_value])
    counts = torch.empty_like(order)
    counts[by_value] = torch.arange(len(order)) - starts
    return counts
