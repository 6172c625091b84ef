"""The compiled engine behind the same plan as `twin`; None where the package was installed without a compiler."""

import importlib
import threading
from functools import singledispatchmethod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    IntegerSpec,
    LinearAttention,
    MaskedAttention,
    NeuronSpec,
    Plan,
    Pool,
    SpaceMean,
    Sum,
    TimeMean,
    WeightLayer,
)
from spikedriven.errors import InputError

_native: ModuleType | None
try:
    _native = importlib.import_module("spikedriven.engine._native")
    _native.instruction_sets()
except ImportError:  # installed without a compiler: the twin computes the same
    _native = None
except ValueError as error:  # SPIKEDRIVEN_ISA holds something else than an instruction set
    raise InputError(str(error)) from error


def available() -> bool:
    """Whether the extension was built."""
    return _native is not None


def extension() -> ModuleType | None:
    """The compiled extension, for the operators of training."""
    return _native


def instruction_sets() -> list[str]:
    """Kernels this machine can run, the widest first; empty without the extension."""
    return _native.instruction_sets() if _native else []


class NativeRun:
    """A plan in native memory. isa: one of `instruction_sets`, "" for the widest; keep: `read` gives every map."""

    def __init__(self, plan: Plan, isa: str = "", keep: bool = False) -> None:
        if _native is None:
            raise RuntimeError("spikedriven was installed without its compiled engine")
        self.output = plan.output
        self._lock = (
            threading.Lock()
        )  # the maps lie in one memory, and a run lets other Python threads go on
        self.engine = _native.Engine(isa, plan.time_steps)
        kinds = {"spikes": _native.Kind.SPIKES, "real": _native.Kind.REAL}
        for m in plan.maps:
            self.engine.add_slot(kinds[m.kind], m.steps, m.height, m.width, m.channels)
        for operation in plan.operations:
            self.add(operation)
        self.engine.finish(plan.output, keep)

    def __call__(self, sample: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        """One sample, float32 [steps, C, H, W] -> the output map."""
        with self._lock:
            self.engine.run(sample, threads)
            return self.read(self.output)

    def read(self, index: int) -> NDArray[Any]:
        """A map of the last run, [steps, height, width, channels]."""
        return self.engine.read(index)

    @singledispatchmethod
    def add(self, operation: Any) -> None:
        raise NotImplementedError(type(operation).__name__)

    @add.register
    def _(self, operation: Image) -> None:
        self.engine.image(operation.out)

    @add.register
    def _(self, layer: WeightLayer) -> None:
        assert _native is not None
        native = _native.Linear()
        for name in ("source", "residual", "real", "spikes"):
            index = getattr(layer, name)
            setattr(native, name, -1 if index is None else index)
        native.kernel_h, native.kernel_w = layer.weight.shape[2:]
        native.step, native.pad, native.levels = layer.step, layer.pad, layer.levels
        native.mode = getattr(_native.Mode, layer.mode.upper())
        if layer.neuron is not None:
            native.neuron = _neuron(layer.neuron)
        add = self.engine.wide_linear if layer.weight.dtype == np.int32 else self.engine.linear
        if layer.mode == "float":
            add = self.engine.float_linear
        add(native, np.ascontiguousarray(layer.weight), layer.scale, layer.bias)

    @add.register
    def _(self, operation: Fire) -> None:
        self.engine.fire(operation.source, operation.out, _neuron(operation.neuron))

    @add.register
    def _(self, pool: Pool) -> None:
        self.engine.pool(pool.source, pool.out, pool.kernel, pool.step, pool.pad)

    @add.register
    def _(self, a: MaskedAttention) -> None:
        if a.heads:
            self.engine.pooled_attention(a.q, a.k, a.v, a.out, a.heads, _neuron(a.neuron))
        else:
            self.engine.masked_attention(a.q, a.k, a.v, a.out, _neuron(a.neuron))

    @add.register
    def _(self, a: LinearAttention) -> None:
        self.engine.linear_attention(a.q, a.k, a.v, a.out, a.heads, a.scale, _neuron(a.neuron))

    @add.register
    def _(self, operation: SpaceMean) -> None:
        self.engine.space_mean(operation.source, operation.out)

    @add.register
    def _(self, head: Head) -> None:
        self.engine.head(
            head.source, head.out, head.unit, np.ascontiguousarray(head.weight), head.bias
        )

    @add.register
    def _(self, operation: TimeMean) -> None:
        self.engine.time_mean(operation.source, operation.out)

    @add.register
    def _(self, operation: Sum) -> None:
        self.engine.sum(operation.a, operation.b, operation.out, operation.factor)


def _neuron(spec: NeuronSpec) -> Any:
    assert _native is not None
    if isinstance(spec, IntegerSpec):
        return _native.integer(spec.levels, spec.half_up)
    return _native.lif(
        spec.leak, spec.parametric, spec.threshold, spec.rest, spec.hard_reset, spec.decay_input
    )
