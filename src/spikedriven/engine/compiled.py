"""`compile`: a network as a program that adds integers where neurons fired."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikedriven.engine.check import check_plan
from spikedriven.engine.lower import lower
from spikedriven.engine.native import NativeRun
from spikedriven.engine.parts import CompiledPart
from spikedriven.engine.ports import taken
from spikedriven.engine.program import Plan, WeightLayer
from spikedriven.engine.running import Program
from spikedriven.engine.scales import DEFAULT_BITS, WEIGHT_BITS
from spikedriven.errors import InputError
from spikedriven.graph.quantization import record_of
from spikedriven.graph.quantize import quantized_copy
from spikedriven.kernels.extension import available
from spikedriven.models.names import class_names

Inputs = Tensor | tuple[Tensor, ...]

#: How often both ways to compute a layer are timed.
MEASURED = 3


class Composed(Protocol):
    """A model that is no single program: ``compiled(make)`` gives a copy of it with programs inside
    (`parts`)."""

    def compiled(self, make: Callable[[nn.Module], nn.Module]) -> nn.Module: ...


@overload
def compile(
    model: Composed, example: Any = None, native: bool | None = None, weight_bits: int | None = None
) -> nn.Module: ...


@overload
def compile(
    model: nn.Module,
    example: Inputs | None = None,
    native: bool | None = None,
    weight_bits: int | None = None,
) -> Program: ...


def compile(
    model: Any, example: Any = None, native: bool | None = None, weight_bits: int | None = None
) -> Any:
    """Compile a network for inputs shaped like ``example``.

    example: real inputs [B, ...], such as images [B, C, H, W] or frames [B, T, C, H, W]; a tuple
    where the network takes several. On the first of them both ways to compute a layer are timed,
    adding rows and multiplying (same result), and the faster one is taken. native: see `Program`.
    weight_bits: of the weights, 2 to 8 or 16; None: 8, or what a quantized model has.

    The program computes, bit for bit, what the quantized model computes (`graph.quantize`). A model
    that is not quantized is quantized on the way, with ``example`` for calibration.

    A detector or segmenter gives a model that is called and answers as before, in evaluation mode,
    with programs in place of its layers; they are made for each size of image when it is first
    seen, of ``example`` at once.

    Raises InputError that lists every place of the network that the engine cannot compute.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> small = sd.quantize(model, images)
        >>> program = sd.compile(small, images)
        >>> torch.equal(program(images), small(images))
        True
    """
    if weight_bits not in (None, *WEIGHT_BITS):
        raise InputError(f"weight_bits must be one of {WEIGHT_BITS} or None, found {weight_bits!r}")
    make_program = partial(_program, native=native, weight_bits=weight_bits)
    if hasattr(model, "compiled"):
        composed = model.compiled(partial(CompiledPart, compile_part=make_program))
        if example is not None:
            with torch.no_grad():
                composed(example)
        return composed
    return make_program(model, example)


def _program(
    model: nn.Module, example: Any, native: bool | None, weight_bits: int | None
) -> Program:
    inputs = example if isinstance(example, tuple) and example else (example,)
    if not all(isinstance(x, Tensor) and x.ndim and len(x) for x in inputs):
        raise InputError("give an example input [B, ...], or a tuple of the inputs of the network")
    if record_of(model) is None:
        model = quantized_copy(
            model, inputs if len(inputs) > 1 else inputs[0], weight_bits or DEFAULT_BITS
        )
    elif weight_bits is not None:
        raise InputError(
            "this model is quantized already: its weights have their bits; leave weight_bits out"
        )
    plan = lower(model, inputs).plan()
    check_plan(plan)
    if native is not False and available():
        plan = _choose_modes(plan, inputs)
    program = Program(plan, native)
    program.classes = class_names(model)
    return program


def _choose_modes(plan: Plan, inputs: tuple[Tensor, ...]) -> Plan:
    """Layers multiply where that is faster than adding rows, on this machine and these inputs."""
    choices = [_is_rows(operation) for operation in plan.operations]
    if not any(choices):
        return plan
    dense = replace(plan, operations=tuple(map(_multiplying, plan.operations)))
    sample = [x[0] for x in taken(plan, tuple(x[:1] for x in inputs))]
    adding, multiplying = _seconds((plan, dense), sample)
    operations = (
        _multiplying(operation) if often and slow > fast else operation
        for operation, often, slow, fast in zip(
            plan.operations, choices, adding, multiplying, strict=True
        )
    )
    return replace(plan, operations=tuple(operations))


def _is_rows(operation: Any) -> bool:
    return isinstance(operation, WeightLayer) and operation.mode == "rows"


def _multiplying(operation: Any) -> Any:
    return replace(operation, mode="dense") if _is_rows(operation) else operation


def _seconds(plans: Sequence[Plan], sample: Sequence[NDArray[np.float32]]) -> list[list[float]]:
    """The shortest time of each operation of plans that run in turns, on one thread."""
    runs = [NativeRun(plan) for plan in plans]
    found: list[list[list[float]]] = [[] for _ in plans]
    for _ in range(MEASURED):
        for run, times in zip(runs, found, strict=True):
            run(sample, 1)
            times.append(run.engine.seconds)
    return [[min(times) for times in zip(*every, strict=True)] for every in found]
