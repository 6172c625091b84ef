"""What commands that take a recording have in common: which networks can, and their frames."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikedriven.data import EventDataConfig, FramedEventConfig
from spikedriven.data.events import Told, read_events
from spikedriven.data.events.framing import to_frames
from spikedriven.data.events.transforms import resize
from spikedriven.errors import InputError


def check_events(target: str, data: Any, what: str) -> FramedEventConfig:
    """The data section of a network that was trained on frames of events; InputError for
    another. what: the task.
    """
    if not isinstance(data, EventDataConfig):
        raise InputError(
            f"{target} was made for {data.dataset}, not for events; {what} needs a spiking network "
            "that was trained on "
            "an event set"
        )
    if not isinstance(data, FramedEventConfig):
        raise InputError(
            f"{target} was trained on {data.dataset}: pictures of events, cropped and cut into two "
            "by their grey "
            "values. No stream of events gives such frames, so an answer would mean nothing; "
            "evaluate on the set's own "
            "pictures with `spikedriven eval`"
        )
    return data


def clip_of(path: Path, told: Told, data: FramedEventConfig) -> Tensor:
    """A whole recording as one clip, float32 [1, T, 2, H, W], as in evaluation."""
    events = read_events(path, told=told)
    if not len(events):
        raise InputError(f"{path}: no events; a clip needs at least one")
    return resize(torch.from_numpy(to_frames(events, data)), data)[None]
