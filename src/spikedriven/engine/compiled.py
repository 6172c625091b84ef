"""`compile`: a network as a program that adds integers where neurons fired."""

import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikedriven.engine.check import check_plan
from spikedriven.engine.lower import lower
from spikedriven.engine.native import NativeRun, available
from spikedriven.engine.program import Map, Plan, WeightLayer
from spikedriven.engine.scales import WEIGHT_BITS
from spikedriven.engine.twin import run_twin
from spikedriven.errors import InputError

#: Adding the rows of one input costs so many multiplications of one (measured: docs/engine.md). A binary input is added
#: once for up to four time steps; a count is added once for each of its bits.
ROW_COST, COUNT_ROW_COST = 1.2, 3.3
STEPS_TOGETHER = 4
MOST_THREADS = 1024


class Program:
    """A compiled network: ``program(x)`` gives what the model gave, up to the rounding of its weights to integers.

    plan: the operations. threads: how many cores to use (default: all this process may use). native: False computes
    with the readable twin, True insists on the compiled engine, None takes what is there. isa: kernels to use, "" the
    widest of the machine. Results do not depend on threads, batch, isa or native.
    """

    def __init__(self, plan: Plan, native: bool | None = None, isa: str = "") -> None:
        if native and not available():
            raise InputError(
                "this installation has no compiled engine; install a C++ compiler and reinstall spikedriven, or leave "
                "native=None to use the slower twin"
            )
        if native is None and not available():
            warnings.warn(
                "spikedriven was installed without its compiled engine: programs run in the readable twin, which gives "
                "the same result and is slow. Install a C++ compiler, then spikedriven again (docs/install.md)",
                stacklevel=3,
            )
        self.plan = plan
        self.threads = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        self.isa = isa
        self._native = NativeRun(plan, isa) if native or (native is None and available()) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] or frames [B, T, C, H, W], float32, of the size it was compiled for -> the output."""
        samples = self._samples(x)
        outputs = [self._run(sample) for sample in samples]
        return self._arrange(np.stack(outputs))

    def maps(self, x: Tensor) -> list[tuple[Map, Tensor]]:
        """Every map for a batch of one, with what it is: for comparing and for drawing."""
        (sample,) = self._samples(x)
        if self._native is None:
            found = run_twin(self.plan, sample)
            values = [found[i] for i in range(len(self.plan.maps))]
        else:
            run = NativeRun(self.plan, self.isa, keep=True)
            run(sample, self.threads)
            values = [run.read(i) for i in range(len(self.plan.maps))]
        return [
            (m, torch.from_numpy(np.ascontiguousarray(v)))
            for m, v in zip(self.plan.maps, values, strict=True)
        ]

    @property
    def is_native(self) -> bool:
        """Whether the compiled engine runs, not the twin."""
        return self._native is not None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program as one file (safetensors; `load_program` reads it)."""
        from spikedriven.engine.file import save

        save(self.plan, path)

    def _run(self, sample: NDArray[np.float32]) -> NDArray[np.float32]:
        if not isinstance(self.threads, int) or not 1 <= self.threads <= MOST_THREADS:
            raise InputError(
                f"threads must be a whole number from 1 to {MOST_THREADS}, found {self.threads!r}"
            )
        if self._native is None:
            return run_twin(self.plan, sample)[self.plan.output]
        return self._native(sample, self.threads)

    def _samples(self, x: Tensor) -> NDArray[np.float32]:
        """The batch as [B, steps, C, H, W]; InputError unless it is what the program was compiled for."""
        image = self.plan.maps[0]
        shape = (image.channels, image.height, image.width)
        expected = (image.steps, *shape) if self.plan.input_frames else shape
        if (
            not isinstance(x, Tensor)
            or not x.is_floating_point()
            or tuple(x.shape[1:]) != expected
            or not len(x)
        ):
            found = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"this program takes floating point [B, {', '.join(map(str, expected))}], found {found}; "
                             "compile again for another size")  # fmt: skip
        values = x.detach().to("cpu", torch.float32).contiguous().numpy()
        if not np.isfinite(values).all():
            raise InputError("the input holds NaN or infinity")
        return values if self.plan.input_frames else values[:, None]

    def _arrange(self, outputs: NDArray[np.float32]) -> Tensor:
        """[B, steps, H, W, C] -> the model's output."""
        values = torch.from_numpy(np.ascontiguousarray(outputs))
        if self.plan.output_form == "map":
            return values[:, 0].permute(0, 3, 1, 2)
        if self.plan.output_form == "vector":
            return values[:, 0, 0, 0]
        return values[:, :, 0, 0].transpose(0, 1).expand(self.plan.time_steps, -1, -1)


def compile(
    model: nn.Module, example: Tensor, native: bool | None = None, weight_bits: int | None = None
) -> Program:
    """Compile a registered network for inputs shaped like ``example``.

    example: real inputs [B, C, H, W] or [B, T, C, H, W]; how often neurons fire on the first of them decides, layer by
    layer, between adding rows and multiplying (same result). native: see `Program`. weight_bits: of the weights behind
    integer neurons. 23: slowest, nearest to the network; 16: fastest, changes more classes; None: 23 in the first half
    of the arithmetic, 16 in the second (docs/engine.md). Binary spikes have 16 in any case.
    Raises InputError for layers that the engine does not know, and for an example that does not fit the network.
    """
    if not isinstance(example, Tensor) or example.ndim not in (4, 5) or not len(example):
        raise InputError("give an example input [B, C, H, W] or [B, T, C, H, W]")
    if weight_bits not in (None, *WEIGHT_BITS):
        raise InputError(f"weight_bits must be one of {WEIGHT_BITS} or None, found {weight_bits!r}")
    plan = lower(model, example, weight_bits or 23).plan()
    if weight_bits is None and any(_is_wide(operation) for operation in plan.operations):
        plan = _wide_first(plan, lower(model, example, 16).plan())
    check_plan(plan)
    if native is not False and available():
        plan = _choose_modes(plan, example)
    return Program(plan, native)


def _wide_first(wide: Plan, narrow: Plan) -> Plan:
    """Wide weights in the layers that do the first half of the arithmetic: what is rounded there goes through all that
    follows, so that they give most of the exactness. Two plans of one network."""
    work = [_products(operation, wide) for operation in wide.operations]
    so_far = np.cumsum(work)
    chosen = [
        a if done <= so_far[-1] / 2 else b
        for a, b, done in zip(wide.operations, narrow.operations, so_far, strict=True)
    ]
    return replace(wide, operations=tuple(chosen))


def _is_wide(operation: Any) -> bool:
    return isinstance(operation, WeightLayer) and operation.weight.dtype == np.int32


def _products(operation: Any, plan: Plan) -> int:
    """Products of weights and inputs in one step of a layer on counts, as if dense; 0 for other operations."""
    if not _is_wide(operation):
        return 0
    out = plan.maps[operation.spikes if operation.real is None else operation.real]
    return operation.weight.size * out.height * out.width


def _choose_modes(plan: Plan, example: Tensor) -> Plan:
    """Layers whose inputs fire often multiply instead of adding rows."""
    maps = [value for _, value in Program(plan, native=True).maps(example[:1])]

    def chosen(operation: Any) -> Any:
        rows = isinstance(operation, WeightLayer) and operation.mode == "rows"
        if not rows or _rows_pay(maps[operation.source], operation.levels):
            return operation
        return replace(operation, mode="dense")

    return replace(plan, operations=tuple(chosen(operation) for operation in plan.operations))


def _rows_pay(spikes: Tensor, levels: int) -> bool:
    """Whether adding rows is faster than multiplying all of spikes [steps, H, W, C]."""
    if levels > 1:
        return float((spikes > 0).float().mean()) * COUNT_ROW_COST < 1
    groups = spikes.split(STEPS_TOGETHER)
    added = sum(float(group.any(dim=0).float().mean()) for group in groups)
    return added * ROW_COST < len(spikes)
