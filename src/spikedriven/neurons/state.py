"""Streaming: time steps one at a time, with the neurons' state as an explicit value that goes
in and comes out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.neurons.base import Neuron


@dataclass(frozen=True)
class StreamState:
    """What a network remembers between steps. Never changed in place: each step returns a new one.

    membranes: qualified neuron name -> membrane [B, ...]; where a neuron keeps more than its
    membrane, ``"<neuron>.<what it keeps>"`` -> that tensor, as in "blocks.0.neuron.adaptation".
    steps: how many were seen; logits: mean of the per-step logits so far [B, K], which equals what
    the model returns for all steps at once.
    """

    membranes: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    logits: Tensor | None = None

    def check_batch(self, size: int) -> None:
        """InputError unless the state is one of a batch of this size, or that before the first
        step.
        """
        # logits say the batch; a membrane may have another first axis, as in QKFormer's released
        # form
        told = self.membranes if self.logits is None else {"logits": self.logits}
        others = {name: len(tensor) for name, tensor in told.items() if len(tensor) != size}
        if others:
            name, found = next(iter(others.items()))
            raise InputError(
                f"this state is of a batch of {found} ({name}), the frame has {size}: go on with "
                "the state that the "
                "last step of this stream returned, or with None to begin"
            )

    def detach(self) -> "StreamState":
        """The same values without their history, for truncated back-propagation through time."""
        return StreamState(
            {name: membrane.detach() for name, membrane in self.membranes.items()},
            self.steps,
            None if self.logits is None else self.logits.detach(),
        )


@contextmanager
def open_stream(model: nn.Module, state: StreamState) -> Iterator[dict[str, Tensor]]:
    """While open, neurons start from the state. The dict handed out is filled with the new one at
    the end.

    Not re-entrant: one stream at a time per module object (copies of a model stream independently).
    """
    neurons = {name: module for name, module in model.named_modules() if isinstance(module, Neuron)}
    places = {
        _key(name, what): (neuron, what)
        for name, neuron in neurons.items()
        for what in neuron.state_names
    }
    unknown = sorted(set(state.membranes) - set(places))
    if unknown:
        raise InputError(
            f"the stream state belongs to another model: it has no neuron {unknown[0]!r}"
        )
    if any(neuron.streaming for neuron in neurons.values()):
        raise InputError("a stream of this model is open already; finish that step first")
    after: dict[str, Tensor] = {}
    for key, (neuron, what) in places.items():
        neuron.streaming = True
        setattr(neuron, what, state.membranes.get(key))
    try:
        yield after
        kept = {key: getattr(neuron, what) for key, (neuron, what) in places.items()}
        after.update({key: value for key, value in kept.items() if value is not None})
    finally:
        for neuron in neurons.values():
            _rest(neuron)


def _key(name: str, what: str) -> str:
    """The name of the neuron stands for its membrane. A model that is a neuron itself has no
    name.
    """
    return name if what == "membrane" else f"{name}.{what}".lstrip(".")


def _rest(neuron: Neuron) -> None:
    neuron.streaming = False
    for what in neuron.state_names:
        setattr(neuron, what, None)
