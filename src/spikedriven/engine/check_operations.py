"""What each operation of a plan asks of its maps and arrays. `check` says what for."""

from functools import singledispatchmethod
from typing import Any

import numpy as np

from spikedriven.engine.check_fields import require
from spikedriven.engine.program import (
    JOINED,
    MODES,
    POOLS,
    Affine,
    Concat,
    Constant,
    Fire,
    Head,
    Image,
    LinearAttention,
    Map,
    MaskedAttention,
    Pick,
    Plan,
    Pool,
    Product,
    Quotient,
    Rearrange,
    Relu,
    Resize,
    Sum,
    TimeMean,
    WeightLayer,
    padded,
    read_by,
    rows_fit,
    written_by,
)
from spikedriven.engine.scales import LIMIT32
from spikedriven.engine.windows import reached
from spikedriven.kernels.spec import LIFSpec

MAX_VALUES, MAX_LEVELS = 2**28, 255
MAX_WINDOW, MAX_PADDING = 255, 2**12
#: Inputs of one position in all steps, and what a divisor may be: whole numbers that float32 holds.
MAX_LIST, MAX_DIVISOR = 2**24, 2**24
#: Of numbers by which values are multiplied or divided: far from where float32 ends.
SCALES = 2.0**-60, 2.0**60

#: [steps, height, width, channels].
Shape = tuple[int, ...]


class Walk:
    """Follows the operations in order; InputError where one does not fit its maps."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.written: set[int] = set()

    def visit(self, operation: Any) -> None:
        known = range(len(self.plan.maps))
        for index in (*read_by(operation), *written_by(operation)):
            require(index in known, f"names map {index}, but there are {len(known)}")
        for index in read_by(operation):
            require(index in self.written, f"reads map {index} before it is written")
        for index in written_by(operation):
            require(index not in self.written, f"writes map {index} a second time")
            self.written.add(index)
        self.check(operation)

    def map(self, index: int, *kinds: str) -> Map:
        m = self.plan.maps[index]
        kinds = kinds or ("real", "spikes")
        require(m.kind in kinds, f"map {index} is of kind {m.kind}, expected {' or '.join(kinds)}")
        return m

    def expect(self, index: int, kind: str, shape: Shape) -> Map:
        """A map that is written: of this kind and [steps, height, width, channels]."""
        m = self.map(index, kind)
        require(_shape(m) == shape, f"map {index} is {list(_shape(m))}, expected {list(shape)}")
        return m

    def counts(self, index: int, shape: Shape, levels: int, unit: float) -> None:
        """A map of spikes that is written."""
        m = self.expect(index, "spikes", shape)
        found = f"map {index} counts to {m.levels} of {m.unit} each"
        require((m.levels, m.unit) == (levels, unit), f"{found}, expected {levels} of {unit} each")

    def like(self, index: int, source: Map, shape: Shape) -> None:
        """A map that holds what another holds, in another shape."""
        if source.kind == "spikes":
            self.counts(index, shape, source.levels, source.unit)
        else:
            self.expect(index, "real", shape)

    def fires(
        self, index: int, operation: Any, shape: Shape, membrane: Shape | None = None
    ) -> None:
        """A map of spikes that the neuron of an operation makes of real values of this shape."""
        neuron = operation.neuron
        steps, *size = shape
        if isinstance(neuron, LIFSpec):
            low, high = SCALES
            none = neuron.parametric and neuron.leak == 0.0  # integrate-and-fire
            right = neuron.kind == "lif" and (none or low <= neuron.leak <= high)
            require(
                right,
                f"the leak of a neuron lies in {low}..{high}, or is a factor of 0, found {neuron}",
            )
            steps, levels = self.plan.time_steps, 1
        else:
            low, high = SCALES
            inside = neuron.kind == "integer" and 1 <= neuron.levels <= MAX_LEVELS
            require(inside, f"an integer neuron has 1..{MAX_LEVELS} levels, found {neuron}")
            right = low <= neuron.threshold <= high
            require(
                right, f"the threshold of an integer neuron lies in {low}..{high}, found {neuron}"
            )
            stateless = operation.before is None and operation.after is None
            require(stateless, "an integer neuron has no membrane")
            levels = neuron.levels
        self.counts(index, (steps, *size), levels, self.plan.maps[index].unit)
        for kept in (operation.before, operation.after):
            if kept is not None:
                self.expect(kept, "real", membrane or (1, *size))

    @singledispatchmethod
    def check(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @check.register
    def _(self, operation: Image) -> None:
        self.map(operation.out, "real")  # the rest is checked with the plan's inputs

    @check.register
    def _(self, operation: Constant) -> None:
        require(
            operation.value.ndim == 3,
            f"a constant is [height, width, channels], found {operation.value.ndim}-d",
        )
        self.expect(operation.out, "real", (1, *operation.value.shape))

    # Weights and neurons
    # ------------------------------------------------------------------------------------------

    @check.register
    def _(self, layer: WeightLayer) -> None:
        require(
            layer.mode in MODES, f"mode must be one of {', '.join(MODES)}, found {layer.mode!r}"
        )
        source = (
            self.map(layer.source) if layer.mode == "float" else self.map(layer.source, "spikes")
        )
        _check_weights(layer, source)
        if layer.mode != "float":
            _check_sums(layer, source)
        steps, size = source.steps, (*_windows(layer, source), len(layer.weight))
        if layer.residual is not None:
            residual = self.map(layer.residual, "real")
            steps = max(steps, residual.steps)
            self.expect(layer.residual, "real", (residual.steps, *size))
        require(layer.real is not None or layer.spikes is not None, "a layer without an output")
        if layer.real is not None:
            self.expect(layer.real, "real", (steps, *size))
        require(
            (layer.spikes is None) == (layer.neuron is None), "spikes and neuron belong together"
        )
        if layer.spikes is not None:
            self.fires(layer.spikes, layer, (steps, *size))
        else:
            require(layer.before is None and layer.after is None, "a membrane without a neuron")

    @check.register
    def _(self, operation: Fire) -> None:
        self.fires(operation.out, operation, _shape(self.map(operation.source, "real")))

    @check.register
    def _(self, attention: MaskedAttention) -> None:
        parts = [self.map(index, "spikes") for index in (attention.q, attention.k, attention.v)]
        m, heads = parts[0], attention.heads
        require(len({_shape(p) for p in parts}) == 1, "q, k and v differ in shape")
        require(
            heads >= 0 and m.channels % max(heads, 1) == 0,
            f"{heads} heads do not divide {m.channels} channels",
        )
        ones = {p.levels for p in parts} == {1}
        require(
            ones and isinstance(attention.neuron, LIFSpec),
            "mask-and-add attention is for LIF neurons",
        )
        self.fires(attention.out, attention, _shape(m), membrane=(1, 1, 1, m.channels))

    @check.register
    def _(self, attention: LinearAttention) -> None:
        q, k, v = (self.map(index, "spikes") for index in (attention.q, attention.k, attention.v))
        heads = attention.heads
        fit = _shape(q) == _shape(k) and _shape(v)[:3] == _shape(q)[:3]
        require(fit, "q, k and v do not fit")
        divides = heads >= 1 and q.channels % heads == 0 and v.channels % heads == 0
        require(divides, f"{heads} heads do not divide {q.channels} and {v.channels} channels")
        largest = q.levels * k.levels * v.levels * q.height * q.width * (q.channels // heads)
        require(largest <= LIMIT32, f"sums of {largest} do not fit 32 bits")
        products = q.steps * q.channels * padded(v.channels // heads)
        require(products <= MAX_VALUES, f"{products} products of k and v, more than {MAX_VALUES}")
        if attention.neuron is None:
            self.expect(attention.out, "real", _shape(v))
            require(
                attention.before is None and attention.after is None, "a membrane without a neuron"
            )
        else:
            self.fires(attention.out, attention, _shape(v))

    @check.register
    def _(self, head: Head) -> None:
        m = self.map(head.source)
        require((m.height, m.width) == (1, 1), "a classifier reads one position")
        shapes = f"weight {list(head.weight.shape)} and bias {list(head.bias.shape)}"
        fits = head.bias.ndim == 1 and head.weight.shape == (len(head.bias), m.channels)
        require(fits, f"{shapes} do not fit {m.channels} inputs")
        self.expect(head.out, "real", (m.steps, 1, 1, len(head.bias)))

    # Values
    # ----------------------------------------------------------------------------------------------

    @check.register
    def _(self, operation: TimeMean) -> None:
        m = self.map(operation.source, "real")
        self.expect(operation.out, "real", (1, m.height, m.width, m.channels))

    @check.register
    def _(self, operation: Sum) -> None:
        a, b = self.map(operation.a), self.map(operation.b)
        out, shape = self.map(operation.out), _broadcast(a, b)
        if out.kind == "real":
            self.expect(operation.out, "real", shape)
            return
        alike = (a.kind, a.unit) == (b.kind, b.unit) == ("spikes", out.unit)
        require(
            alike and operation.factor == 1.0,
            "a sum of counts has counts of one unit, and the factor 1.0",
        )
        self.counts(operation.out, shape, a.levels + b.levels, a.unit)

    @check.register
    def _(self, operation: Product) -> None:
        a, b = self.map(operation.a), self.map(operation.b)
        if self.map(operation.out).kind == "real":
            self.expect(operation.out, "real", _broadcast(a, b))
            return
        require(a.kind == b.kind == "spikes", "a product that counts has two maps of spikes")
        self.counts(operation.out, _broadcast(a, b), a.levels * b.levels, a.unit * b.unit)

    @check.register
    def _(self, operation: Quotient) -> None:
        a, b = self.map(operation.a, "real"), self.map(operation.b, "real")
        self.expect(operation.out, "real", _broadcast(a, b))

    @check.register
    def _(self, operation: Relu) -> None:
        self.expect(operation.out, "real", _shape(self.map(operation.source, "real")))

    @check.register
    def _(self, operation: Affine) -> None:
        m = self.map(operation.source)
        fits = operation.scale.shape == operation.shift.shape == (m.channels,)
        require(
            fits,
            f"scale {list(operation.scale.shape)} and shift {list(operation.shift.shape)} must be "
            f"{[m.channels]}",
        )
        self.expect(operation.out, "real", _shape(m))

    # Places
    # ----------------------------------------------------------------------------------------------

    @check.register
    def _(self, pool: Pool) -> None:
        m = self.map(pool.source)
        require(pool.how in POOLS, f"how must be one of {', '.join(POOLS)}, found {pool.how!r}")
        tall, wide = (
            _check_bounds(*pair) for pair in ((pool.rows, m.height), (pool.columns, m.width))
        )
        shape = (m.steps, len(pool.rows), len(pool.columns), m.channels)
        if pool.how == "max":
            self.like(pool.out, m, shape)
            return
        require(tall * wide * m.levels <= LIMIT32, "sums of a window do not fit 32 bits")
        largest = int(pool.rows[:, 2].max()) * int(pool.columns[:, 2].max())
        require(largest <= MAX_DIVISOR, f"a divisor of {largest}, more than {MAX_DIVISOR}")
        self.expect(pool.out, "real", shape)

    @check.register
    def _(self, pick: Pick) -> None:
        m = self.map(pick.source)
        places = (pick.steps, pick.rows, pick.columns, pick.channels)
        for index, size, axis in zip(places, _shape(m), JOINED, strict=True):
            require(index.ndim == 1, f"its {axis} are no list")
            _check_places(index, size, axis)
        self.like(pick.out, m, tuple(len(index) for index in places))

    @check.register
    def _(self, operation: Rearrange) -> None:
        m, index = self.map(operation.source), operation.index
        require(index.ndim == 3, f"index is [height, width, channels], found {list(index.shape)}")
        _check_places(index, m.height * m.width * m.channels, "index")
        self.like(operation.out, m, (m.steps, *index.shape))

    @check.register
    def _(self, operation: Concat) -> None:
        require(
            operation.axis in JOINED,
            f"axis must be one of {', '.join(JOINED)}, found {operation.axis!r}",
        )
        require(len(operation.parts) >= 1, "there is nothing to join")
        parts = [self.map(index) for index in operation.parts]
        shape = _joined(parts, JOINED.index(operation.axis))
        out = self.map(operation.out)
        if out.kind == "real":
            self.expect(operation.out, "real", shape)
            return
        alike = {(p.kind, p.unit) for p in parts} == {("spikes", out.unit)}
        require(alike, "counts of different units, or real values, join into a real map only")
        self.counts(operation.out, shape, max(p.levels for p in parts), out.unit)

    @check.register
    def _(self, operation: Resize) -> None:
        m, sizes = self.map(operation.source), []
        for places, weights, size, axis in (
            (operation.rows, operation.row_weights, m.height, "rows"),
            (operation.columns, operation.column_weights, m.width, "columns"),
        ):
            fits = places.ndim == 2 and places.shape[1] == 2 and weights.shape == places.shape
            require(fits, f"{axis} and their weights are [places, 2]")
            _check_places(places, size, axis)
            sizes.append(len(places))
        self.expect(operation.out, "real", (m.steps, *sizes, m.channels))


def _shape(m: Map) -> Shape:
    return m.steps, m.height, m.width, m.channels


# Weights
# --------------------------------------------------------------------------------------------------


def _check_weights(layer: WeightLayer, source: Map) -> None:
    """Shapes and types of a weight layer's arrays, and its mode."""
    shape, groups = layer.weight.shape, layer.groups
    is_float = layer.weight.dtype == np.float32
    require(
        is_float == (layer.mode == "float"),
        f"a layer of mode {layer.mode!r} with weights {layer.weight.dtype}",
    )
    divides = groups >= 1 and source.channels % groups == 0
    require(divides, f"{groups} groups do not divide the {source.channels} channels of its input")
    fits = len(shape) == 4 and shape[0] >= 1 and shape[1] * groups == source.channels
    require(
        fits,
        f"its weight is {list(shape)}, but its input has {source.channels} channels in {groups} "
        "groups",
    )
    require(shape[0] % groups == 0, f"{groups} groups do not divide its {shape[0]} outputs")
    require(
        layer.scale.shape == layer.bias.shape == shape[:1],
        f"scale {list(layer.scale.shape)} and bias {list(layer.bias.shape)} must be {[shape[0]]}",
    )
    require(
        layer.mode in ("grouped", "float") or groups == 1, "groups are of mode grouped or float"
    )
    _check_window(layer)
    taps = shape[2] * shape[3]
    fit = layer.mode != "rows" or rows_fit(source, taps)
    require(
        fit,
        f"mode rows takes counts up to 15, few steps and few rows, found {taps} taps on {source}",
    )
    require(
        source.steps * taps * padded(source.channels) <= MAX_LIST,
        "steps and rows together are too many",
    )


def _check_window(layer: WeightLayer) -> None:
    kernel = layer.weight.shape[2:]
    steps = (*kernel, *layer.stride, *layer.dilation, *layer.spread)
    inside = all(1 <= size <= MAX_WINDOW for size in steps) and all(
        0 <= pad <= MAX_PADDING for pad in layer.padding
    )
    require(
        inside,
        f"a window of {list(kernel)}, stride {layer.stride}, padding {layer.padding}, dilation "
        f"{layer.dilation}, spread {layer.spread} is out of range",
    )


def _windows(layer: WeightLayer, source: Map) -> tuple[int, int]:
    """Height and width of the output of a weight layer."""
    kernel_h, kernel_w = layer.weight.shape[2:]
    (top, left, bottom, right), (sy, sx) = layer.padding, layer.stride
    (dy, dx), (py, px) = layer.dilation, layer.spread
    height = reached(source.height, kernel_h, sy, (top, bottom), dy, py)
    width = reached(source.width, kernel_w, sx, (left, right), dx, px)
    fits = height >= 1 and width >= 1
    require(
        fits,
        f"a window of {kernel_h} x {kernel_w} does not fit a map of {source.height} x "
        f"{source.width}",
    )
    return height, width


def _check_sums(layer: WeightLayer, source: Map) -> None:
    """The largest sums, of weights of one sign times the largest counts, must fit 32 bits."""
    least = layer.weight.min()
    require(
        layer.weight.dtype != np.int8 or least >= -127,
        f"a weight of {least}; those of 8 bits lie in -127..127",
    )
    wide = (
        np.int16 if layer.weight.dtype == np.int8 else np.int32
    )  # a copy of little memory: weights are most of it
    sizes = np.abs(layer.weight.astype(wide)).reshape(len(layer.weight), -1)
    largest = int(sizes.sum(axis=1, dtype=np.int64).max()) * source.levels
    require(largest <= LIMIT32, f"sums of {largest} do not fit 32 bits")


# Shapes and places
# ------------------------------------------------------------------------------------------------


def _check_places(index: np.ndarray, size: int, axis: str) -> None:
    inside = index.size > 0 and int(index.min()) >= 0 and int(index.max()) < size
    require(inside, f"{axis} name places that are not there, of {size}")


def _check_bounds(windows: np.ndarray, size: int) -> int:
    """The longest of the windows of a pool along an axis."""
    require(
        windows.ndim == 2 and windows.shape[1] == 3 and len(windows) >= 1, "windows are [out, 3]"
    )
    first, last, divisor = windows.T
    inside = (
        (first >= 0).all()
        and (first < last).all()
        and (last <= size).all()
        and (divisor >= 1).all()
    )
    require(bool(inside), f"windows must lie within {size} places, and divisors be positive")
    return int((last - first).max())


def _broadcast(a: Map, b: Map) -> Shape:
    shape = tuple(max(pair) for pair in zip(_shape(a), _shape(b), strict=True))
    for m in (a, b):
        spreads = all(
            size in (1, whole) for size, whole in zip(_shape(m)[:3], shape[:3], strict=True)
        )
        fits = spreads and shape[3] % m.channels == 0
        require(fits, f"the operands differ in shape: {list(_shape(a))} and {list(_shape(b))}")
    return shape


def _joined(parts: list[Map], axis: int) -> Shape:
    """The shape of maps that are joined; but along steps, a map of one step stands for all."""
    shape = list(_shape(parts[0]))
    if axis:
        shape[0] = max(m.steps for m in parts)
    for m in parts:
        own = list(_shape(m))
        same = all(own[i] == shape[i] or (i == 0 and own[0] == 1) for i in range(4) if i != axis)
        require(
            same and (axis > 0 or m.steps == 1),
            f"the parts differ in shape, or have steps of their own: {own}",
        )
    shape[axis] = sum(_shape(m)[axis] for m in parts)
    return tuple(shape)
