"""`check_plan`: may a plan be run? The one validation of plans, before they are written and after they are read.

Native code trusts sizes and integer types, and a program file may come from anywhere. A plan that passes stays inside
its maps, and no sum of integers leaves 32 bits whatever the input: the bound of `scales` is computed again, from the
integers themselves.
"""

from functools import singledispatchmethod
from typing import Any

import numpy as np

from spikedriven.engine.check_fields import check_fields
from spikedriven.engine.program import (
    KINDS,
    MODES,
    Fire,
    Head,
    Image,
    LIFSpec,
    LinearAttention,
    Map,
    MaskedAttention,
    NeuronSpec,
    Plan,
    Pool,
    SpaceMean,
    Sum,
    TimeMean,
    WeightLayer,
    read_by,
    rows_fit,
    written_by,
)
from spikedriven.engine.scales import LIMIT32, LIMIT_WIDE
from spikedriven.errors import InputError

OUTPUT_FORMS = ("vector", "per_step", "map")
#: Far above what networks need; native code counts in 32 bits.
MAX_STEPS, MAX_SIZE, MAX_VALUES, MAX_BYTES = 2**12, 2**15, 2**28, 2**33
MAX_WINDOW, MAX_LEVELS = 255, 255
#: Rows of weights are named by 16 bits, and one position's list of rows is at most so long.
MAX_ROWS, MAX_LIST = 2**16 - 2, 2**24
BYTES = {"spikes": 1, "real": 4}


def check_plan(plan: Plan) -> None:
    """InputError, naming the operation or map, unless the engine can run ``plan`` safely on every input."""
    check_fields(plan, "the program")
    _require(
        1 <= plan.time_steps <= MAX_STEPS,
        f"time_steps must lie in 1..{MAX_STEPS}, found {plan.time_steps}",
    )
    _check_maps(plan)
    first = plan.operations[0] if plan.operations else None
    _require(
        isinstance(first, Image) and first.out == 0,
        "the first operation must make map 0 from the image",
    )
    walk = _Walk(plan)
    for index, operation in enumerate(plan.operations):
        with_name = f"operation {index} ({type(operation).__name__})"
        try:
            walk.visit(operation)
        except InputError as error:
            raise InputError(f"{with_name}: {error}") from None
    missing = sorted(set(range(len(plan.maps))) - walk.written)
    _require(not missing, f"map {missing[:1]} is never written")
    _check_output(plan)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise InputError(why)


# Maps -------------------------------------------------------------------------------------------------------------


def _padded(channels: int) -> int:
    return (channels + 31) // 32 * 32


def _check_maps(plan: Plan) -> None:
    total = 0
    for index, m in enumerate(plan.maps):
        where = f"map {index}"
        _require(
            m.kind in KINDS,
            f"{where}: its kind must be one of {', '.join(KINDS)}, found {m.kind!r}",
        )
        sizes = (m.height, m.width, m.channels)
        inside = all(1 <= size <= MAX_SIZE for size in sizes)
        _require(inside, f"{where}: sizes must lie in 1..{MAX_SIZE}, found {sizes}")
        _require(
            m.steps in (1, plan.time_steps),
            f"{where}: has {m.steps} steps, expected 1 or {plan.time_steps}",
        )
        values = m.steps * m.height * m.width * _padded(m.channels)
        _require(values <= MAX_VALUES, f"{where}: {values} values, more than {MAX_VALUES}")
        total += values * BYTES[m.kind]
    _require(total <= MAX_BYTES, f"the maps take {total} bytes, more than {MAX_BYTES}")


def _check_output(plan: Plan) -> None:
    form, index = plan.output_form, plan.output
    _require(
        form in OUTPUT_FORMS,
        f"output_form must be one of {', '.join(OUTPUT_FORMS)}, found {form!r}",
    )
    _require(
        0 <= index < len(plan.maps), f"the output is map {index}, but there are {len(plan.maps)}"
    )
    m = plan.maps[index]
    _require(m.kind == "real", f"the output must be real, found a map of {m.kind}")
    _require(
        form == "per_step" or m.steps == 1,
        f"an output of form {form!r} has one step, found {m.steps}",
    )
    _require(
        form == "map" or (m.height, m.width) == (1, 1),
        f"an output of form {form!r} has one position",
    )


# Operations -------------------------------------------------------------------------------------------------------


class _Walk:
    """Follows the operations in order. levels: the largest count in each map of spikes so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.written: set[int] = set()
        self.levels: dict[int, int] = {}

    def visit(self, operation: Any) -> None:
        known = range(len(self.plan.maps))
        for index in (*read_by(operation), *written_by(operation)):
            _require(index in known, f"names map {index}, but there are {len(known)}")
        for index in read_by(operation):
            _require(index in self.written, f"reads map {index} before it is written")
        for index in written_by(operation):
            _require(index not in self.written, f"writes map {index} a second time")
            self.written.add(index)
        weighs = isinstance(operation, WeightLayer) and operation.residual != 0
        _require(weighs or 0 not in read_by(operation), "only a weight layer reads the image")
        self.check(operation)

    def map(self, index: int, *kinds: str) -> Map:
        m = self.plan.maps[index]
        _require(m.kind in kinds, f"map {index} is of kind {m.kind}, expected {' or '.join(kinds)}")
        return m

    def expect(self, index: int, kind: str, *shape: int) -> None:
        """A map that is written: of this kind and [steps, height, width, channels]."""
        m = self.map(index, kind)
        found = (m.steps, m.height, m.width, m.channels)
        _require(found == shape, f"map {index} is {list(found)}, expected {list(shape)}")

    def fires(
        self, index: int, neuron: NeuronSpec, steps: int, height: int, width: int, channels: int
    ) -> None:
        """A map of spikes that a neuron makes of real values of this shape."""
        if isinstance(neuron, LIFSpec):
            _require(
                neuron.kind == "lif" and neuron.leak > 0,
                f"the leak of a neuron is positive, found {neuron}",
            )
            steps, self.levels[index] = self.plan.time_steps, 1
        else:
            inside = neuron.kind == "integer" and 1 <= neuron.levels <= MAX_LEVELS
            _require(inside, f"an integer neuron has 1..{MAX_LEVELS} levels, found {neuron}")
            self.levels[index] = neuron.levels
        self.expect(index, "spikes", steps, height, width, channels)

    @singledispatchmethod
    def check(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @check.register
    def _(self, operation: Image) -> None:
        image, steps = (
            self.map(operation.out, "real"),
            self.plan.time_steps if self.plan.input_frames else 1,
        )
        _require(
            operation.out == 0 and image.steps == steps, f"map 0 is the image, with {steps} steps"
        )

    @check.register
    def _(self, layer: WeightLayer) -> None:
        _require(
            layer.mode in MODES, f"mode must be one of {', '.join(MODES)}, found {layer.mode!r}"
        )
        source = self.map(layer.source, "real" if layer.mode == "float" else "spikes")
        height, width, channels = _check_weights(layer, source)
        if layer.mode != "float":
            self.check_sums(layer)
        steps = source.steps
        if layer.residual is not None:
            residual = self.map(layer.residual, "real")
            steps = max(steps, residual.steps)
            self.expect(layer.residual, "real", residual.steps, height, width, channels)
        _require(layer.real is not None or layer.spikes is not None, "a layer without an output")
        if layer.real is not None:
            self.expect(layer.real, "real", steps, height, width, channels)
        _require(
            (layer.spikes is None) == (layer.neuron is None), "spikes and neuron belong together"
        )
        if layer.spikes is not None and layer.neuron is not None:
            self.fires(layer.spikes, layer.neuron, steps, height, width, channels)

    def check_sums(self, layer: WeightLayer) -> None:
        """The largest sums, of weights of one sign times the largest counts, must fit 32 bits."""
        made = self.levels[layer.source]
        _require(made <= layer.levels, f"its input counts to {made}, but levels is {layer.levels}")
        sizes = np.abs(layer.weight.astype(np.int64)).reshape(len(layer.weight), -1)
        _require(sizes.max() <= LIMIT_WIDE, f"a weight of {sizes.max()}, more than {LIMIT_WIDE}")
        largest = int(sizes.sum(axis=1).max()) * layer.levels
        _require(largest <= LIMIT32, f"sums of {largest} do not fit 32 bits")

    @check.register
    def _(self, operation: Fire) -> None:
        m = self.map(operation.source, "real")
        self.fires(operation.out, operation.neuron, m.steps, m.height, m.width, m.channels)

    @check.register
    def _(self, pool: Pool) -> None:
        m = self.map(pool.source, "spikes", "real")
        _require(
            pool.pad * 2 <= pool.kernel,
            f"the padding {pool.pad} is more than half the kernel {pool.kernel}",
        )
        height, width = _window(m, pool.kernel, pool.kernel, pool.step, pool.pad)
        self.expect(pool.out, m.kind, m.steps, height, width, m.channels)
        if m.kind == "spikes":
            self.levels[pool.out] = self.levels[pool.source]

    @check.register
    def _(self, attention: MaskedAttention) -> None:
        parts = [self.map(index, "spikes") for index in (attention.q, attention.k, attention.v)]
        m, heads = parts[0], attention.heads
        _require(
            len({(p.steps, p.height, p.width, p.channels) for p in parts}) == 1,
            "q, k and v differ in shape",
        )
        _require(
            heads >= 0 and m.channels % max(heads, 1) == 0,
            f"{heads} heads do not divide {m.channels} channels",
        )
        ones = {self.levels[index] for index in (attention.q, attention.k, attention.v)} == {1}
        _require(
            ones and isinstance(attention.neuron, LIFSpec),
            "mask-and-add attention is for LIF neurons",
        )
        self.fires(attention.out, attention.neuron, m.steps, m.height, m.width, m.channels)

    @check.register
    def _(self, attention: LinearAttention) -> None:
        q, k, v = (self.map(index, "spikes") for index in (attention.q, attention.k, attention.v))
        heads = attention.heads
        same = (q.steps, q.height, q.width, q.channels) == (k.steps, k.height, k.width, k.channels)
        _require(
            same and (v.steps, v.height, v.width) == (q.steps, q.height, q.width),
            "q, k and v do not fit",
        )
        divides = heads >= 1 and q.channels % heads == 0 and v.channels % heads == 0
        _require(divides, f"{heads} heads do not divide {q.channels} and {v.channels} channels")
        counts = [self.levels[index] for index in (attention.q, attention.k, attention.v)]
        largest = int(np.prod(counts)) * q.height * q.width * (q.channels // heads)
        _require(largest <= LIMIT32, f"sums of {largest} do not fit 32 bits")
        products = q.steps * q.channels * _padded(v.channels // heads)
        _require(products <= MAX_VALUES, f"{products} products of k and v, more than {MAX_VALUES}")
        self.fires(attention.out, attention.neuron, v.steps, v.height, v.width, v.channels)

    @check.register
    def _(self, operation: SpaceMean) -> None:
        m = self.map(operation.source, "real")
        self.expect(operation.out, "real", m.steps, 1, 1, m.channels)

    @check.register
    def _(self, head: Head) -> None:
        m = self.map(head.source, "real", "spikes")
        _require((m.height, m.width) == (1, 1), "a classifier reads one position")
        shapes = f"weight {list(head.weight.shape)} and bias {list(head.bias.shape)}"
        fits = head.bias.ndim == 1 and head.weight.shape == (len(head.bias), m.channels)
        _require(fits, f"{shapes} do not fit {m.channels} inputs")
        self.expect(head.out, "real", m.steps, 1, 1, len(head.bias))

    @check.register
    def _(self, operation: TimeMean) -> None:
        m = self.map(operation.source, "real")
        self.expect(operation.out, "real", 1, m.height, m.width, m.channels)

    @check.register
    def _(self, operation: Sum) -> None:
        a, b = self.map(operation.a, "real"), self.map(operation.b, "real")
        _require(
            (a.height, a.width, a.channels) == (b.height, b.width, b.channels),
            "the summands differ in shape",
        )
        self.expect(operation.out, "real", max(a.steps, b.steps), a.height, a.width, a.channels)


def _window(m: Map, kernel_h: int, kernel_w: int, step: int, pad: int) -> tuple[int, int]:
    """Height and width of the output of a window that slides over a map."""
    inside = (
        all(1 <= size <= MAX_WINDOW for size in (kernel_h, kernel_w))
        and 0 <= pad <= MAX_WINDOW
        and step >= 1
    )
    _require(
        inside, f"a window of {kernel_h} x {kernel_w}, step {step}, padding {pad} is out of range"
    )
    fits = kernel_h <= m.height + 2 * pad and kernel_w <= m.width + 2 * pad
    _require(
        fits, f"a window of {kernel_h} x {kernel_w} does not fit a map of {m.height} x {m.width}"
    )
    return (m.height + 2 * pad - kernel_h) // step + 1, (m.width + 2 * pad - kernel_w) // step + 1


def _check_weights(layer: WeightLayer, source: Map) -> tuple[int, int, int]:
    """Shapes of a weight layer's arrays and its mode; returns the output's height, width and channels."""
    shape, depth = layer.weight.shape, 1 if layer.mode == "depthwise" else source.channels
    is_float = layer.weight.dtype == np.float32
    _require(
        is_float == (layer.mode == "float"),
        f"a layer of mode {layer.mode!r} with weights {layer.weight.dtype}",
    )
    _require(len(shape) == 4 and shape[0] >= 1 and shape[1] == depth,
             f"its weight is {list(shape)}, but its input has {source.channels} channels")  # fmt: skip
    _require(
        layer.mode != "depthwise" or shape[0] == source.channels, "there is one filter per channel"
    )
    _require(layer.scale.shape == layer.bias.shape == shape[:1],
             f"scale {list(layer.scale.shape)} and bias {list(layer.bias.shape)} must be {[shape[0]]}")  # fmt: skip
    _require(
        1 <= layer.levels <= MAX_LEVELS, f"levels must lie in 1..{MAX_LEVELS}, found {layer.levels}"
    )
    height, width = _window(source, shape[2], shape[3], layer.step, layer.pad)
    rows = shape[2] * shape[3] * _padded(source.channels)
    _require(rows <= MAX_ROWS, f"{rows} rows of weights, more than {MAX_ROWS}")
    _require(
        layer.mode != "rows" or rows_fit(source.steps, layer.levels),
        "mode rows takes counts up to 15 and few steps",
    )
    _require(source.steps * rows <= MAX_LIST, "steps and rows together are too many")
    return height, width, shape[0]
