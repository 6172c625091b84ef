"""Asking contestants in turns, and what their times say.

In every round each is asked once, in an order that rotates, so that a busy moment of the machine
hits all alike; a ratio is taken within a round, and only then are medians formed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spikedriven.bench.worker import WorkerError


class Timed(Protocol):
    def ask(self, message: int | None) -> float: ...


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    q1: float
    q3: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75))
        return cls(float(median), float(q1), float(q3))


def alternate(
    workers: Mapping[str, Timed], rounds: int, after: Callable[[], None] = lambda: None
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """(seconds per worker and round, reason per worker that failed on the way: its times are
    dropped).

    after: called after every timed run, for a progress bar.
    """
    times: dict[str, list[float]] = {name: [] for name in workers}
    failed: dict[str, str] = {}
    names = list(workers)
    for number in range(rounds):
        turn = number % max(len(names), 1)
        for name in names[turn:] + names[:turn]:
            if name not in failed:
                try:
                    times[name].append(workers[name].ask(number))
                except WorkerError as error:
                    failed[name] = str(error)
            after()
    return {name: found for name, found in times.items() if name not in failed}, failed


def ratios(times: Sequence[float], reference: Sequence[float]) -> Spread:
    """How many times slower than the reference, round by round; above 1: the reference is
    faster.
    """
    return Spread.of([one / other for one, other in zip(times, reference, strict=True)])
