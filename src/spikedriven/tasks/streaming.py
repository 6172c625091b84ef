"""Classification of a recording while it comes in: one frame, one step of the network, one running prediction."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikedriven.data.events.stream import Frame
from spikedriven.neurons import StreamState


@dataclass(frozen=True, eq=False)
class Prediction:
    """After `step` steps (from 1), of which the last had `events` events and ended at `end_us` microseconds.

    logits: [K], the mean over the steps since the neurons were last at rest: what the model returns for all of them
    at once.
    """

    step: int
    end_us: int
    events: int
    logits: Tensor


def predict_stream(
    model: Any,
    frames: Iterable[Frame],
    prepare: Callable[[Tensor], Tensor],
    restart: int | None = None,
) -> Iterator[Prediction]:
    """Predictions of a model in evaluation mode, frame by frame, with nothing kept but its membranes.

    prepare: counts [1, 2, H, W] -> what the network sees, [1, 2, H', W']. restart: put the neurons back to rest after
    so many steps.
    """
    device = next(model.parameters()).device
    state = StreamState()
    for number, frame in enumerate(frames, 1):
        if restart is not None and state.steps == restart:
            state = StreamState()
        with torch.inference_mode():
            _, state = model.step(prepare(torch.from_numpy(frame.counts)[None]).to(device), state)
        assert state.logits is not None
        yield Prediction(number, frame.end_us, frame.events, state.logits[0])
