"""Labelled event recordings: a data set gives the frames of a recording, its label, and where it came from."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch

from spikedriven.data.events.config import EventDataConfig


class EventDataset:
    """Base of the event sets.

    Attributes: `classes` (names, index = label), `num_classes`, `targets` (int64 `[N]`, without opening a file), `cfg`.
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

    def subset(self, indices: np.ndarray) -> Self:
        """The same kind of set with only the recordings at `indices`, in that order."""
        raise NotImplementedError
