"""A plan in the making: maps and operations, weights still in float64.

What the graph says in one operator may take several operations, and several operators may become
one (`peephole`); integers are made of weights last (`finish`).
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.program import (
    Affine,
    Fire,
    LinearAttention,
    Map,
    Port,
    read_by,
    written_by,
)
from spikedriven.kernels.spec import NeuronSpec

Float64 = NDArray[np.float64]
#: The largest count that a map of spikes holds.
MOST_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Weigh:
    """`program.WeightLayer` with its weights as the network has them: float64 [out, in / groups,
    height, width].

    scale: of weights that are integers already, the worth of one of the sum, [out]; None: `finish`
    makes integers.
    """

    source: int
    weight: Float64
    bias: Float64
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    spread: tuple[int, int] = (1, 1)
    groups: int = 1
    residual: int | None = None
    real: int | None = None
    spikes: int | None = None
    neuron: NeuronSpec | None = None
    scale: Float64 | None = None


@dataclass(frozen=True)
class Attend:
    """``scale * q (k^T v)`` per head, of counts, real: becomes `program.LinearAttention`, with the
    neuron behind it where one alone reads it. Units of the counts are not in the scale."""

    q: int
    k: int
    v: int
    out: int
    heads: int
    scale: float


@dataclass(frozen=True)
class PlanePool:
    """3x3 maximum over the plane (position in raster order, channel in head) of each head: a part
    of the pooled form of `program.MaskedAttention`."""

    source: int
    out: int
    heads: int


@dataclass
class Draft:
    """Maps and operations so far. where: the module at work, which names the maps that it makes."""

    time_steps: int
    maps: list[Map] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    where: str = ""

    def map(self, kind: str, steps: int, height: int, width: int, channels: int, levels: int = 1,
            unit: float = 1.0
            ) -> int:  # fmt: skip
        """A new map, named after the module at work."""
        if levels > MOST_LEVELS:
            raise Unlowered(
                f"counts go up to {levels}, and the engine counts to {MOST_LEVELS}",
                "use neurons of fewer levels, or put a neuron between the sums",
            )
        self.maps.append(Map(kind, steps, height, width, channels, self.where, levels, unit))
        return len(self.maps) - 1

    def real(self, like: int, **sizes: int) -> int:
        """A new map of real values, shaped like another one but for ``sizes``."""
        m = _resized(self.maps[like], sizes)
        return self.map("real", m.steps, m.height, m.width, m.channels)

    def alike(self, like: int, **sizes: int) -> int:
        """A new map of the same kind, levels and unit."""
        m = _resized(self.maps[like], sizes)
        return self.map(m.kind, m.steps, m.height, m.width, m.channels, m.levels, m.unit)

    def add(self, operation: Any) -> None:
        self.operations.append(operation)

    def is_spikes(self, index: int) -> bool:
        return self.maps[index].kind == "spikes"

    def readers(self) -> dict[int, list[int]]:
        """Of each map, the operations that read it, by number; an output is read by operation
        -1."""
        found: dict[int, list[int]] = {index: [] for index in range(len(self.maps))}
        for number, operation in enumerate(self.operations):
            for index in read_by(operation):
                found[index].append(number)
        for port in self.outputs:
            found[port.map].append(-1)
        return found

    def writers(self) -> dict[int, int]:
        """Of each map, the operation that writes it, by number."""
        return {
            index: number
            for number, operation in enumerate(self.operations)
            for index in written_by(operation)
        }

    # Steps on the way that several emitters need --------------------------------------------------

    def affine(self, source: int, scale: Any, shift: Any = 0.0) -> int:
        """``value * scale + shift``, one number each or one per channel; real."""
        channels = self.maps[source].channels
        factors: Any = (
            np.broadcast_to(np.asarray(x, np.float64), channels).copy() for x in (scale, shift)
        )
        out = self.real(source)
        self.add(Affine(source, out, *factors))
        return out

    def fire(self, source: int, spec: NeuronSpec, levels: int, unit: float) -> int:
        """Counts that a neuron makes of real values."""
        m = self.maps[source]
        steps = m.steps if spec.kind == "integer" else self.time_steps
        out = self.map("spikes", steps, m.height, m.width, m.channels, levels, unit)
        self.add(Fire(source, out, spec))
        return out


def _resized(m: Map, sizes: dict[str, int]) -> Map:
    values: dict[str, Any] = {**sizes}
    return replace(m, **values)


def fired(attend: Attend, fire: Fire | None = None) -> LinearAttention:
    """The attention with the neuron behind it, if there is one that it alone makes spikes for."""
    out, neuron = (attend.out, None) if fire is None else (fire.out, fire.neuron)
    return LinearAttention(attend.q, attend.k, attend.v, out, attend.heads, attend.scale, neuron)
