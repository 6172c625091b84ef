"""The compiled engine behind the same plan as `twin`; None where the package was installed
without a compiler.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from functools import singledispatchmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import (
    JOINED,
    Affine,
    Concat,
    Constant,
    Fire,
    Head,
    Image,
    LinearAttention,
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
    read_by,
)
from spikedriven.kernels.extension import extension, loaded
from spikedriven.kernels.spec import IntegerSpec, NeuronSpec


class NativeRun:
    """A plan in native memory. isa: one of `instruction_sets`, "" for the widest; keep: `read`
    gives every map.
    """

    def __init__(self, plan: Plan, isa: str = "", keep: bool = False) -> None:
        if extension() is None:
            raise RuntimeError("spikedriven was installed without its compiled engine")
        self.plan, self.isa, self.keep = plan, isa, keep
        self.outputs = [port.map for port in plan.outputs]
        self.engine = _built(plan, isa, keep)
        self._lock = (
            threading.Lock()
        )  # the maps lie in one memory, and a run lets other Python threads go on
        _RUNS.add(self)

    def __call__(self, sample: Sequence[NDArray[np.float32]], threads: int) -> list[NDArray[Any]]:
        """One sample, of each input a map [steps, height, width, channels] of any strides ->
        the output maps.
        """
        with self._lock:
            self.engine.run(list(sample), threads)
            return [self.read(index) for index in self.outputs]

    def read(self, index: int) -> NDArray[Any]:
        """A map of the last run, [steps, height, width, channels]."""
        return self.engine.read(index)

    def after_fork(self) -> None:
        """In a process made by fork: an engine that another thread was running is in no known
        state, and that thread is not here to let it go. It is left behind, and built anew.
        """
        if self._lock.locked():
            _LEFT_BEHIND.append(self.engine)  # its memory may not even be given back
            self.engine = _built(self.plan, self.isa, self.keep)
        self._lock = threading.Lock()


_RUNS: "weakref.WeakSet[NativeRun]" = weakref.WeakSet()
_LEFT_BEHIND: list[Any] = []


def _after_fork() -> None:
    for run in list(_RUNS):
        run.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _built(plan: Plan, isa: str, keep: bool) -> Any:
    """An engine with the operations of a plan."""
    native = loaded()
    engine = native.Engine(isa, plan.time_steps)
    kinds = {"spikes": native.Kind.SPIKES, "real": native.Kind.REAL}
    packed = _packed(plan)
    for index, m in enumerate(plan.maps):
        engine.add_slot(
            kinds[m.kind], m.steps, m.height, m.width, m.channels, m.unit, index in packed
        )
    adding = _Adding(engine, plan)
    for operation in plan.operations:
        adding.add(operation)
    engine.finish([port.map for port in plan.outputs], keep)
    return engine


def _packed(plan: Plan) -> set[int]:
    """Inputs that only weight layers read need no padding of their channels, which saves most
    of the first layer.
    """
    others: set[int] = set()
    for operation in plan.operations:
        layer = isinstance(operation, WeightLayer) and operation.groups == 1
        others |= set(read_by(operation)) - ({operation.source} if layer else set())
        if layer:
            others |= {
                index for index in (operation.residual, operation.before) if index is not None
            }
    return {port.map for port in plan.inputs} - others


class _Adding:
    """Tells the engine each operation."""

    def __init__(self, engine: Any, plan: Plan) -> None:
        self.engine, self.plan = engine, plan

    @singledispatchmethod
    def add(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @add.register
    def _(self, operation: Image) -> None:
        self.engine.image(operation.out)

    @add.register
    def _(self, operation: Constant) -> None:
        self.engine.constant(operation.out, _array(operation.value))

    @add.register
    def _(self, layer: WeightLayer) -> None:
        module = loaded()
        native = module.Linear()
        for name in ("source", "residual", "real", "spikes"):
            setattr(native, name, _slot(getattr(layer, name)))
        (top, left, _, _), (kernel_h, kernel_w) = layer.padding, layer.weight.shape[2:]
        native.y = module.axis(kernel_h, layer.stride[0], top, layer.dilation[0], layer.spread[0])
        native.x = module.axis(kernel_w, layer.stride[1], left, layer.dilation[1], layer.spread[1])
        native.levels, native.groups = self.plan.maps[layer.source].levels, layer.groups
        native.mode = getattr(module.Mode, layer.mode.upper())
        if layer.neuron is not None:
            native.spiking = _spiking(layer)
        adding = {
            "f": self.engine.float_linear,
            "b": self.engine.byte_linear,
            "h": self.engine.linear,
        }
        add = adding[layer.weight.dtype.char]
        add(native, _array(layer.weight), _array(layer.scale), _array(layer.bias))

    @add.register
    def _(self, operation: Fire) -> None:
        self.engine.fire(operation.source, operation.out, _spiking(operation))

    @add.register
    def _(self, pool: Pool) -> None:
        add = self.engine.max_pool if pool.how == "max" else self.engine.mean_pool
        add(pool.source, pool.out, _array(pool.rows), _array(pool.columns))

    @add.register
    def _(self, a: MaskedAttention) -> None:
        if a.heads:
            self.engine.pooled_attention(a.q, a.k, a.v, a.out, a.heads, _spiking(a))
        else:
            self.engine.masked_attention(a.q, a.k, a.v, a.out, _spiking(a))

    @add.register
    def _(self, a: LinearAttention) -> None:
        self.engine.linear_attention(a.q, a.k, a.v, a.out, a.heads, a.scale, _spiking(a))

    @add.register
    def _(self, head: Head) -> None:
        self.engine.head(head.source, head.out, _array(head.weight), _array(head.bias))

    @add.register
    def _(self, operation: TimeMean) -> None:
        self.engine.time_mean(operation.source, operation.out)

    @add.register
    def _(self, operation: Sum) -> None:
        self.pair("SUM", operation, operation.factor)

    @add.register
    def _(self, operation: Product) -> None:
        self.pair("PRODUCT", operation)

    @add.register
    def _(self, operation: Quotient) -> None:
        self.pair("QUOTIENT", operation)

    def pair(self, how: str, operation: Sum | Product | Quotient, factor: float = 1.0) -> None:
        self.engine.pair(
            getattr(loaded().Pair, how), operation.a, operation.b, operation.out, factor
        )

    @add.register
    def _(self, operation: Relu) -> None:
        self.engine.relu(operation.source, operation.out)

    @add.register
    def _(self, operation: Affine) -> None:
        self.engine.affine(
            operation.source, operation.out, _array(operation.scale), _array(operation.shift)
        )

    @add.register
    def _(self, pick: Pick) -> None:
        places = (_array(x) for x in (pick.steps, pick.rows, pick.columns, pick.channels))
        self.engine.pick(pick.source, pick.out, *places)

    @add.register
    def _(self, operation: Rearrange) -> None:
        self.engine.rearrange(operation.source, operation.out, _array(operation.index))

    @add.register
    def _(self, operation: Concat) -> None:
        self.engine.concat(list(operation.parts), operation.out, JOINED.index(operation.axis))

    @add.register
    def _(self, r: Resize) -> None:
        taps = (_array(x) for x in (r.rows, r.row_weights, r.columns, r.column_weights))
        self.engine.resize(r.source, r.out, *taps)


def _array(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array)


def _slot(index: int | None) -> int:
    return -1 if index is None else index


def _spiking(operation: Any) -> Any:
    return loaded().spiking(
        _neuron(operation.neuron), _slot(operation.before), _slot(operation.after)
    )


def _neuron(spec: NeuronSpec | None) -> Any:
    if spec is None:
        return loaded().Neuron()
    if isinstance(spec, IntegerSpec):
        return loaded().integer(spec.levels, spec.half_up, spec.threshold)
    return loaded().lif(
        spec.leak, spec.parametric, spec.threshold, spec.rest, spec.hard_reset, spec.decay_input
    )
