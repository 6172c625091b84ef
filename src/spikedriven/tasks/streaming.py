"""Classification of a recording while it comes in: one frame, one step of the network, one
running prediction.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikedriven.data.events.events import Events
from spikedriven.data.events.framing import coverage
from spikedriven.data.events.stream import Frame
from spikedriven.neurons import StreamState


class Usage:
    """How much of a recording the predictions saw, and whether the network was trained on so many
    steps.

    trained: steps of a training sample. restart: steps after which the neurons are put to rest.
    """

    def __init__(self, trained: int, restart: int | None = None) -> None:
        self.trained, self.restart = trained, restart
        self.total = self.events = self.steps = self.end = 0
        self.first: int | None = None
        self.last = 0
        self.warned = False

    def counted(self, parts: Iterable[Events]) -> Iterator[Events]:
        """The parts of the recording, unchanged."""
        for part in parts:
            if len(part):
                self.first = int(part.t[0]) if self.first is None else self.first
                self.total, self.last = self.total + len(part), int(part.t[-1])
            yield part

    def add(self, prediction: "Prediction") -> str:
        """What to tell after this prediction: once, that the network was trained on fewer steps."""
        self.steps, self.end = prediction.step, prediction.end_us
        self.events += prediction.events
        since = (self.steps - 1) % self.restart + 1 if self.restart else self.steps
        if since <= self.trained or self.warned:
            return ""
        self.warned = True
        return (
            f"step {self.steps}: the network was trained on {self.trained} steps, and is at step "
            f"{since:,} since its "
            f"neurons were at rest. --restart {self.trained} begins anew after as many"
        )

    def __str__(self) -> str:
        first = self.last if self.first is None else self.first
        whole = (self.last - first) / 1e6
        seen = min(max(self.end - first, 0) / 1e6, whole)
        text = f"{coverage(seen, whole, self.events, self.total)}, in {self.steps:,} steps"
        return f"{text} (trained on {self.trained}; see --restart)" if self.warned else text


@dataclass(frozen=True, eq=False)
class Prediction:
    """After `step` steps (from 1), of which the last had `events` events and ended at `end_us`
    microseconds.

    logits: [K], the mean over the steps since the neurons were last at rest: what the model returns
    for all of them at once.
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
    """Predictions of a model in evaluation mode, frame by frame, with nothing kept but its
    membranes.

    prepare: counts [1, 2, H, W] -> what the network sees, [1, 2, H', W']. restart: put the neurons
    back to rest after so many steps.
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
