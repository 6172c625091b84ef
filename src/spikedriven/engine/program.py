"""A compiled network as data: maps, and operations on them. Nothing here computes.

Maps are channels-last, for one sample: [steps, height, width, channels], where steps is 1 (a map of
one step stands for all steps) or the program's ``time_steps``. Two kinds: "spikes", counts
0..levels (0/1 of LIF neurons) of which each is worth ``unit``, and "real", float32. Tokens are
positions: of a picture in raster order, or one row of them. The *value* of a count, where an
operation on real values reads one, is ``float32(count) * unit``. `twin` says what each operation
computes; the compiled engine computes the same bits.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikedriven.kernels.spec import NeuronSpec

KINDS = ("spikes", "real")
#: How a weight layer is computed, see `WeightLayer`; how a pool makes one value of a window.
MODES = ("rows", "dense", "grouped", "float")
POOLS = ("max", "mean")
#: Axes along which maps are joined, as they lie in a map.
JOINED = ("steps", "height", "width", "channels")

#: Spelt out, because `check_fields` reads them: NumPy 2.5 made NDArray[...] a name that typing does
#: not look into.
Int8 = np.ndarray[Any, np.dtype[np.int8]]
Int16 = np.ndarray[Any, np.dtype[np.int16]]
Int32 = np.ndarray[Any, np.dtype[np.int32]]
Float32 = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Map:
    """Shape and kind of one value. name: the layer that makes it. Of spikes, levels is the largest
    count and unit what one count is worth; of real values both are 1.
    """

    kind: str
    steps: int
    height: int
    width: int
    channels: int
    name: str = ""
    levels: int = 1
    unit: float = 1.0


@dataclass(frozen=True)
class Port:
    """A map that comes from outside or is handed out, and the order of its axes there.

    axes: B and any of T (steps), C, H, W, or N for all positions in one; an axis that is left out
    has one entry. A map of one step that is handed out with T is repeated. Examples: images "BCHW",
    frames "BTCHW", logits "BC" or per step "TBC", tokens "TBNC". Spikes are handed out as their
    values.
    """

    map: int
    axes: str
    name: str = ""


@dataclass(frozen=True)
class Image:
    """An input, channels last; index: its place in the plan's ``inputs``."""

    out: int
    index: int = 0


@dataclass(frozen=True, eq=False)
class Constant:
    """Real values [height, width, channels] that are part of the program, such as a position
    embedding.
    """

    out: int
    value: Float32


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """Convolution or linear layer: sums, then ``sum * scale + bias``, then the residual, then the
    neuron.

    mode: on spikes, sums of integer weights in 32-bit integers: "rows" adds the rows of weights
    that fired, "dense" multiplies (same integers), "grouped" does either for groups of channels. On
    real values and on the values of counts, "float": products and sums in float32, one after the
    other in the order (row, column, channel) of the window, zeros outside the map included. Output
    channel o reads the channels of group ``o * groups // out``.

    stride, dilation: (y, x). padding: zeros at (top, left, bottom, right). spread: (y, x), the
    input lies so far apart, with zeros between; this makes a transposed convolution (its kernel
    turned by 180 degrees). before, after: maps [1, height, width, out] of the neuron's membrane
    when the first step begins and when the last ends; without ``before`` it begins at rest. Streams
    use them (`stream`).
    """

    source: int
    weight: Int8 | Int16 | Float32  # [out, in / groups, kernel_h, kernel_w]; integers on spikes
    scale: Float32  # [out]; the worth of an integer of the sum, the unit of the source included
    bias: Float32
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    spread: tuple[int, int] = (1, 1)
    groups: int = 1
    mode: str = "rows"
    residual: int | None = None
    real: int | None = None
    spikes: int | None = None
    neuron: NeuronSpec | None = None
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class Fire:
    """Real values -> spikes. before, after: as of `WeightLayer`."""

    source: int
    out: int
    neuron: NeuronSpec
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, eq=False)
class Pool:
    """One value of each window.

    "max": the largest, of equal ones the first in raster order, NaN if any is NaN; spikes stay
    spikes. "mean": the sum, in raster order, divided by the divisors of its row and column; of
    spikes the integer sum times the unit, divided.

    rows, columns: [out, 3], of each row of windows the first place, the one behind the last, and
    the divisor (`windows` makes them). A mean whose divisors are 1 is a sum.
    """

    source: int
    out: int
    rows: Int32
    columns: Int32
    how: str = "max"


@dataclass(frozen=True)
class MaskedAttention:
    """``q * fire(sum over positions of k * v)``; with ``heads`` the pooled form (heads 0: the
    plain one).
    """

    q: int
    k: int
    v: int
    out: int
    heads: int
    neuron: NeuronSpec
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class LinearAttention:
    """``fire(scale * q (k^T v))`` per head; scale includes the units of q, k and v.

    Without a neuron the result is real: the sum as float32, times the scale.
    """

    q: int
    k: int
    v: int
    out: int
    heads: int
    scale: float
    neuron: NeuronSpec | None = None
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, eq=False)
class Head:
    """Classifier of one position in float32, inputs added in order; reads real values, or the
    values of counts.
    """

    source: int
    out: int
    weight: Float32  # [out, in]
    bias: Float32


@dataclass(frozen=True)
class TimeMean:
    """Mean over steps, added in order."""

    source: int
    out: int


@dataclass(frozen=True)
class Sum:
    """``(a + b) * factor`` of values; counts of one unit stay counts where the map that is written
    is of spikes.

    In `Sum`, `Product` and `Quotient`, one row, column or step of a or b stands for all, and
    channels are repeated: where there are fewer, channel c reads channel ``c * channels // out``
    (one per head, or one for all).
    """

    a: int
    b: int
    out: int
    factor: float = 1.0


@dataclass(frozen=True)
class Product:
    """``a * b`` of values; of two maps of spikes counts, worth the product of the units.
    Broadcasts as `Sum`.
    """

    a: int
    b: int
    out: int


@dataclass(frozen=True)
class Quotient:
    """``a / b`` of real values. Broadcasts as `Sum`."""

    a: int
    b: int
    out: int


@dataclass(frozen=True)
class Relu:
    """``max(x, 0)`` of real values; NaN stays."""

    source: int
    out: int


@dataclass(frozen=True, eq=False)
class Affine:
    """``value * scale + shift`` per channel, two roundings: a batch norm that no layer could
    take.
    """

    source: int
    out: int
    scale: Float32  # [channels]
    shift: Float32


@dataclass(frozen=True, eq=False)
class Pick:
    """``out[t, y, x, c] = source[steps[t], rows[y], columns[x], channels[c]]``: a step of time, a
    crop, a slice or another order of channels, resizing to the nearest.
    """

    source: int
    out: int
    steps: Int32
    rows: Int32
    columns: Int32
    channels: Int32


@dataclass(frozen=True, eq=False)
class Rearrange:
    """``out.flat[i] = source.flat[index.flat[i]]`` within each step, over [height, width,
    channels]: any reshape or exchange of axes that `Pick` cannot say.
    """

    source: int
    out: int
    index: Int32  # [height, width, channels] of out


@dataclass(frozen=True)
class Concat:
    """Maps one behind the other along an axis of `JOINED`. All of one kind and unit as ``out``, or
    values into real ones. Along "steps", maps of one step make one of all steps.
    """

    parts: tuple[int, ...]
    out: int
    axis: str = "channels"


@dataclass(frozen=True, eq=False)
class Resize:
    """Linear between two places of each axis, of values; real.

    With rows [height, 2] (places) and row_weights [height, 2], and the same of columns: first
    ``left * w0 + right * w1`` in the upper and in the lower row, then ``upper * h0 + lower * h1``.
    """

    source: int
    out: int
    rows: Int32
    columns: Int32
    row_weights: Float32
    column_weights: Float32


Operation = (
    Image
    | Constant
    | WeightLayer
    | Fire
    | Pool
    | MaskedAttention
    | LinearAttention
    | Head
    | TimeMean
    | Sum
    | Product
    | Quotient
    | Relu
    | Affine
    | Pick
    | Rearrange
    | Concat
    | Resize
)
OPERATIONS: dict[str, type] = {kind.__name__: kind for kind in Operation.__args__}
#: Fields of operations that name maps: which are read, which are written.
READS = ("source", "q", "k", "v", "a", "b", "parts", "residual", "before")
WRITES = ("out", "real", "spikes", "after")


@dataclass(frozen=True)
class Plan:
    """The whole network. A single output without a name is handed out as it is, several as a tuple,
    or under their names as a dictionary.
    """

    time_steps: int
    maps: tuple[Map, ...]
    operations: tuple[Any, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


#: Rows of weights are named by 16 bits.
MAX_ROWS = 2**16 - 2


def padded(channels: int) -> int:
    """Channels as they are stored."""
    return (channels + 31) // 32 * 32


def rows_fit(source: Map, taps: int) -> bool:
    """Whether mode "rows" takes such an input: counts of four bits, a bounded number of groups of
    steps and of rows of weights (rows.h). taps: places of a window, ``kernel_h * kernel_w``.
    """
    groups = source.steps if source.levels > 1 else -(-source.steps // 4)
    return source.levels <= 15 and groups <= 64 and taps * padded(source.channels) <= MAX_ROWS


def integer_mode(source: Map, taps: int, groups: int) -> str:
    """The mode of a weight layer on spikes as long as nobody knows how often these fire."""
    return "grouped" if groups > 1 else "rows" if rows_fit(source, taps) else "dense"


def read_by(operation: Any) -> list[int]:
    """Indices of the maps that an operation reads."""
    return _named(operation, READS)


def written_by(operation: Any) -> list[int]:
    """Indices of the maps that an operation writes."""
    return _named(operation, WRITES)


def renumbered(operation: Any, moved: dict[int, int]) -> Any:
    """The operation with its maps under other numbers."""
    values = {name: getattr(operation, name) for name in _fields(operation, (*READS, *WRITES))}
    return dataclasses.replace(
        operation, **{name: _moved(value, moved) for name, value in values.items()}
    )


def _moved(value: Any, moved: dict[int, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(moved[index] for index in value)
    return None if value is None else moved[value]


def _named(operation: Any, names: tuple[str, ...]) -> list[int]:
    found: list[int] = []
    for name in _fields(operation, names):
        value = getattr(operation, name)
        found += value if isinstance(value, tuple) else [] if value is None else [value]
    return found


def _fields(operation: Any, names: tuple[str, ...]) -> list[str]:
    own = {field.name for field in dataclasses.fields(operation)}
    return [name for name in names if name in own]
