"""Streaming: time steps one at a time, with the membranes as an explicit value that goes in and comes out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.neurons.modules import Neuron


@dataclass(frozen=True)
class StreamState:
    """What a network remembers between steps. Never changed in place: each step returns a new one.

    membranes: qualified neuron name -> membrane [B, ...]; steps: how many were seen; logits: mean of the per-step
    logits so far [B, K], which equals what the model returns for all steps at once.
    """

    membranes: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    logits: Tensor | None = None

    def detach(self) -> "StreamState":
        """The same values without their history, for truncated back-propagation through time."""
        return StreamState(
            {name: membrane.detach() for name, membrane in self.membranes.items()},
            self.steps,
            None if self.logits is None else self.logits.detach(),
        )


@contextmanager
def open_stream(model: nn.Module, state: StreamState) -> Iterator[dict[str, Tensor]]:
    """While open, neurons start from the state's membranes. The dict handed out is filled with the new ones at the end.

    Not re-entrant: one stream at a time per module object (copies of a model stream independently).
    """
    neurons = {name: module for name, module in model.named_modules() if isinstance(module, Neuron)}
    unknown = sorted(set(state.membranes) - set(neurons))
    if unknown:
        raise InputError(
            f"the stream state belongs to another model: it has no neuron {unknown[0]!r}"
        )
    if any(neuron.streaming for neuron in neurons.values()):
        raise InputError("a stream of this model is open already; finish that step first")
    after: dict[str, Tensor] = {}
    for name, neuron in neurons.items():
        neuron.streaming, neuron.membrane = True, state.membranes.get(name)
    try:
        yield after
        after.update(
            {
                name: neuron.membrane
                for name, neuron in neurons.items()
                if neuron.membrane is not None
            }
        )
    finally:
        for neuron in neurons.values():
            neuron.streaming, neuron.membrane = False, None
