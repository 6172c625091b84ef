"""Layers of neurons that carry nothing: dead ones never fire, saturated ones always do.

Such a layer puts out the same for every image, so training cannot learn through it. Looked at is
one evaluation batch a time, so it costs next to nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from spikedriven.neurons import Neuron
from spikedriven.neurons.watch import counts, neuron_outputs
from spikedriven.runs.log import RunLog

#: Most layers that are named in one line for a person; the log has all of them.
NAMED = 4


@dataclass
class BatchFiring:
    """How the neuron layers of a network fired on one batch, by qualified name."""

    fired: dict[str, bool] = field(default_factory=dict)
    """Whether any neuron fired."""
    full: dict[str, bool] = field(default_factory=dict)
    """Whether every neuron put out the most spikes it can, at every time step."""
    images: int = 0

    @property
    def layers(self) -> int:
        return len(self.fired)

    @property
    def dead(self) -> list[str]:
        return [name for name, fired in self.fired.items() if not fired]

    @property
    def saturated(self) -> list[str]:
        return [name for name, full in self.full.items() if full]

    def see(self, name: str, neuron: Neuron, output: Tensor) -> None:
        """output: [T, B, ...]. A layer that is called several times is judged by all its calls."""
        found = counts(neuron, output)
        fired, full = bool(found.any()), bool((found == neuron.levels).all())
        self.fired[name] = self.fired.get(name, False) or fired
        self.full[name] = self.full.get(name, True) and full
        self.images = max(self.images, output.shape[1])

    def tell(self, log: RunLog, step: int, epoch: int) -> None:
        """Into the log of a run; nothing of a network without neurons of this package."""
        if not self.layers:
            return
        of = {"images": self.images, "layers": self.layers}
        log.record("firing", step, epoch=epoch, **of, dead=self.dead, saturated=self.saturated)
        for line in self.told():
            log.say(f"epoch {epoch}: {line}")

    def told(self) -> list[str]:
        """Lines for a person; none where no layer is dead or saturated."""
        basis = f"on the first {self.images} evaluation images"
        found = (
            (f"dead (no neuron fired {basis})", self.dead),
            (f"saturated (every neuron put out its most at every step {basis})", self.saturated),
        )
        return [
            f"{what}: {len(names)} of {self.layers} neuron layers: {_shortened(names)}"
            for what, names in found
            if names
        ]


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more (see log.jsonl)" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@contextmanager
def first_batch(model: nn.Module) -> Iterator[BatchFiring]:
    """Inside the block the first call of the model is looked at, and no other."""
    found, done = BatchFiring(), []
    end = model.register_forward_hook(lambda *_: done.append(True))
    try:
        with neuron_outputs(model, lambda *call: None if done else found.see(*call)):
            yield found
    finally:
        end.remove()
