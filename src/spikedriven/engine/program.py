"""A compiled network as data: maps, and operations on them. Nothing here computes.

Maps are channels-last, for one sample: [steps, height, width, channels], where steps is 1 or the program's
``time_steps``. Two kinds: "spikes", counts 0..255 (0/1 for LIF neurons), and "real", float32.
`twin` says what each operation computes; the compiled engine computes the same bits.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("spikes", "real")
#: How a weight layer is computed, see `WeightLayer`.
MODES = ("rows", "dense", "depthwise", "float")

#: Spelt out, because `check_fields` reads them: NumPy 2.5 made NDArray[...] a name that typing does not look into.
Int16 = np.ndarray[Any, np.dtype[np.int16]]
Int32 = np.ndarray[Any, np.dtype[np.int32]]
Float32 = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Map:
    """Shape and kind of one value. name: the layer that makes it."""

    kind: str
    steps: int
    height: int
    width: int
    channels: int
    name: str = ""


@dataclass(frozen=True)
class LIFSpec:
    """Constants of a LIF neuron, see `neurons.dynamics`; parametric: ``leak`` multiplies instead of dividing."""

    leak: float
    threshold: float
    rest: float
    hard_reset: bool
    decay_input: bool
    parametric: bool
    kind: str = "lif"


@dataclass(frozen=True)
class IntegerSpec:
    """Constants of an integer neuron; the map holds counts, undivided."""

    levels: int
    half_up: bool
    kind: str = "integer"


NeuronSpec = LIFSpec | IntegerSpec


@dataclass(frozen=True)
class Image:
    """The input, channels last."""

    out: int


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """Convolution or 1x1 layer: sums, then ``sum * scale + bias``, then the residual, then the neuron.

    mode: on spikes, sums of integer weights in 32-bit integers: "rows" adds the rows of weights that fired, "dense"
    multiplies (same integers), "depthwise" filters each channel. On real values, "float": products and sums in
    float32, one after the other in the order (row, column, channel) of the window, zeros outside the map included.
    levels: the largest count in the input.
    """

    source: int
    weight: (
        Int16 | Int32 | Float32
    )  # [out, in, kh, kw]; depthwise [out, 1, kh, kw]. int32 holds up to 23 bits
    scale: Float32  # [out]
    bias: Float32
    step: int = 1
    pad: int = 0
    levels: int = 1
    mode: str = "rows"
    residual: int | None = None
    real: int | None = None
    spikes: int | None = None
    neuron: NeuronSpec | None = None


@dataclass(frozen=True)
class Fire:
    """Real values -> spikes."""

    source: int
    out: int
    neuron: NeuronSpec


@dataclass(frozen=True)
class Pool:
    """Largest value of each window, of spikes or real values."""

    source: int
    out: int
    kernel: int
    step: int
    pad: int


@dataclass(frozen=True)
class MaskedAttention:
    """``q * fire(sum over positions of k * v)``; with ``heads`` the pooled form (heads 0: the plain one)."""

    q: int
    k: int
    v: int
    out: int
    heads: int
    neuron: NeuronSpec


@dataclass(frozen=True)
class LinearAttention:
    """``fire(scale * q (k^T v))`` per head."""

    q: int
    k: int
    v: int
    out: int
    heads: int
    scale: float
    neuron: NeuronSpec


@dataclass(frozen=True)
class SpaceMean:
    """Mean over positions, added in raster order."""

    source: int
    out: int


@dataclass(frozen=True, eq=False)
class Head:
    """Classifier in float32, inputs added in order. unit: what one count of a spike map is worth."""

    source: int
    out: int
    weight: Float32  # [out, in]
    bias: Float32
    unit: float = 1.0


@dataclass(frozen=True)
class TimeMean:
    """Mean over steps, added in order."""

    source: int
    out: int


@dataclass(frozen=True)
class Sum:
    """``(a + b) * factor`` of real values; a map of one step stands for all steps."""

    a: int
    b: int
    out: int
    factor: float = 1.0


Operation = (
    Image
    | WeightLayer
    | Fire
    | Pool
    | MaskedAttention
    | LinearAttention
    | SpaceMean
    | Head
    | TimeMean
    | Sum
)
OPERATIONS: dict[str, type] = {kind.__name__: kind for kind in Operation.__args__}
#: Fields of operations that name maps: which are read, which are written.
READS = ("source", "q", "k", "v", "a", "b", "residual")
WRITES = ("out", "real", "spikes")


@dataclass(frozen=True)
class Plan:
    """The whole network. input_frames: the input has a time axis. output: the map that is handed out, with
    ``output_form`` "vector" [B, K], "per_step" [T, B, K] or "map" [B, C, H, W]."""

    time_steps: int
    input_frames: bool
    maps: tuple[Map, ...]
    operations: tuple[Any, ...]
    output: int
    output_form: str


def rows_fit(steps: int, levels: int) -> bool:
    """Whether mode "rows" takes such an input: counts of four bits, a bounded number of groups of steps (rows.h)."""
    return levels <= 15 and (steps if levels > 1 else -(-steps // 4)) <= 64


def read_by(operation: Any) -> list[int]:
    """Indices of the maps that an operation reads."""
    return _named(operation, READS)


def written_by(operation: Any) -> list[int]:
    """Indices of the maps that an operation writes."""
    return _named(operation, WRITES)


def _named(operation: Any, names: tuple[str, ...]) -> list[int]:
    fields = {field.name for field in dataclasses.fields(operation)}
    found = [getattr(operation, name) for name in names if name in fields]
    return [index for index in found if index is not None]
