"""Labelled event recordings: a data set gives the frames of a recording, its label, and where
it came from.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch

from spikedriven.data.events.config import EventDataConfig, FramedEventConfig
from spikedriven.data.events.events import Events
from spikedriven.data.events.framing import coverage
from spikedriven.errors import DataError

#: Recordings that are read to say how much of them is used.
LOOKED_AT = 8
#: What steps share where they have no length of their own.
EQUAL = {"number": "numbers of events", "time": "time"}


class EventDataset:
    """Base of the event sets.

    Attributes: `classes` (names, index = label), `num_classes`, `targets` (int64 `[N]`, without
    opening a file), `cfg`.
    """

    def __init__(self, cfg: EventDataConfig, targets: np.ndarray, classes: Sequence[str]) -> None:
        self.cfg = cfg
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Frames as they are evaluated, and the label."""
        return self.frames(index, None), int(self.targets[index])

    def frames(self, index: int, draws: np.random.Generator | None) -> torch.Tensor:
        """float32 `[T, 2, H, W]` of recording `index`, before resizing and augmentation.

        draws: in training, the generator of this sample's random choices; None in evaluation.
        Raises DataError naming the file when it cannot be read.
        """
        raise NotImplementedError

    def where(self, index: int) -> str:
        """The file (and place in it) of recording `index`, for messages."""
        raise NotImplementedError

    def events(self, index: int) -> Events | None:
        """The events of recording `index`; None in sets that come as frames. DataError when they
        cannot be read.
        """
        return None

    def usage(self) -> str:
        """How much of its recordings the frames use, in words; "" of a set that comes as frames.

        Where steps have a length of their own, the medians over a few recordings; those that cannot
        be read are passed over.
        """
        if not isinstance(self.cfg, FramedEventConfig) or not len(self):
            return ""
        if self.cfg.step_us is None:
            return (
                f"{self.cfg.time_steps} steps of equal {EQUAL[self.cfg.split_by]} use all of each "
                "recording"
            )
        rows = [self._used(int(index)) for index in _spread(len(self), LOOKED_AT)]
        found = np.array([row for row in rows if row is not None])
        if not len(found):
            return ""
        steps = f"{self.cfg.time_steps} steps of {self.cfg.step_us / 1000:g} ms"
        said = coverage(*np.median(found, axis=0).tolist())
        return f"{steps} use {said} (medians of {len(found)} of {len(self)} recordings)"

    def _used(self, index: int) -> tuple[float, float, float, float] | None:
        """Seconds in the frames of a recording and in all, and events in the frames and in all."""
        assert isinstance(self.cfg, FramedEventConfig)
        try:
            events = self.events(index)
        except DataError:
            return None
        if events is None or not len(events):
            return None
        begin = self.cfg.clip_time()[0]
        start = int(events.t[0]) if begin is None else begin
        stop = start + self.cfg.time_steps * (self.cfg.step_us or 0)
        last = int(events.t[-1])
        seen = len(events.between(start, stop))
        return (min(stop, last) - start) / 1e6, (last - start) / 1e6, seen, len(events)

    def subset(self, indices: np.ndarray) -> Self:
        """The same kind of set with only the recordings at `indices`, in that order."""
        raise NotImplementedError


def _spread(count: int, most: int) -> np.ndarray:
    """Up to `most` numbers below `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))
