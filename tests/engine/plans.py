"""Plans written by hand: inputs, counts made of them, and whatever operations a test adds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikedriven.engine import Program, file
from spikedriven.engine.check import check_plan
from spikedriven.engine.program import Fire, Image, Map, Plan, Port
from spikedriven.kernels.extension import available, instruction_sets
from spikedriven.kernels.spec import IntegerSpec, LIFSpec

LIF = LIFSpec(2.0, 1.0, 0.0, True, True, False)
Size = tuple[int, int, int]


class Sketch:
    """A plan in the making. Inputs come first."""

    def __init__(self, seed: int, steps: int = 2) -> None:
        self.rng = np.random.default_rng(seed)
        self.steps = steps
        self.maps: list[Map] = []
        self.operations: list[Any] = []
        self.inputs: list[Port] = []

    def map(self, kind: str, steps: int, *size: int, levels: int = 1, unit: float = 1.0) -> int:
        self.maps.append(Map(kind, steps, *size, "a map", levels, unit))
        return len(self.maps) - 1

    def real(self, *size: int, steps: int = 1) -> int:
        """An input of real values."""
        index = self.map("real", steps, *size)
        self.operations.append(Image(index, len(self.inputs)))
        self.inputs.append(Port(index, "BTHWC" if steps == self.steps else "BHWC"))
        return index

    def counts(self, levels: int, *size: int, steps: int = 1, unit: float = 1.0) -> int:
        """Counts of an integer neuron that reads an input."""
        source = self.real(*size, steps=steps)
        out = self.map("spikes", steps, *size, levels=levels, unit=unit)
        self.operations.append(Fire(source, out, IntegerSpec(levels, False)))
        return out

    def spikes(self, *size: int) -> int:
        """Spikes of all steps."""
        source = self.real(*size, steps=self.steps)
        out = self.map("spikes", self.steps, *size)
        self.operations.append(Fire(source, out, LIF))
        return out

    def plan(self, *outputs: int) -> Plan:
        images = [operation for operation in self.operations if isinstance(operation, Image)]
        rest = [operation for operation in self.operations if not isinstance(operation, Image)]
        many = {index: self.maps[index].steps > 1 for index in outputs}
        ports = tuple(Port(index, "TBHWC" if many[index] else "BHWC") for index in outputs)
        plan = Plan(self.steps, tuple(self.maps), (*images, *rest), tuple(self.inputs), ports)
        check_plan(plan)
        return plan

    def example(self, plan: Plan, batch: int = 1) -> list[Tensor]:
        """Inputs that make counts of every size."""
        shapes = [_shape(plan, port, batch) for port in plan.inputs]
        levels = max(m.levels for m in plan.maps)
        spread = max(2.0, levels / 2)
        return [
            torch.from_numpy((self.rng.normal(size=s) * spread).astype(np.float32)) for s in shapes
        ]


def through_a_file(plan: Plan, folder: Path) -> Plan:
    """Written and read again."""
    file.save(plan, folder / "program")
    return file.load(folder / "program")


def _shape(plan: Plan, port: Port, batch: int) -> tuple[int, ...]:
    m = plan.maps[port.map]
    sizes = {"B": batch, "T": m.steps, "H": m.height, "W": m.width, "C": m.channels}
    return tuple(sizes[axis] for axis in port.axes)


def same(a: Tensor, b: Tensor) -> bool:
    """The same numbers, NaN where the other has NaN."""
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def assert_native_is_twin(plan: Plan, inputs: list[Tensor]) -> list[Tensor]:
    """On every instruction set and with several threads; returns the twin's maps."""
    twin = [value for _, value in Program(plan, native=False).maps(*inputs)]
    for isa in instruction_sets() if available() else []:
        program = Program(plan, True, isa)
        for threads in (1, 3):
            program.threads = threads
            for index, (m, found) in enumerate(program.maps(*inputs)):
                assert same(found, twin[index]), (isa, threads, index, m)
    return twin


def assert_steps_are_the_whole(plan: Plan, inputs: list[Tensor], native: bool) -> None:
    """A stream gives at every step what one call gives."""
    program = Program(plan, native=native)
    whole = program(*inputs)
    whole = whole if isinstance(whole, tuple) else (whole,)
    state = None
    for t in range(plan.time_steps):
        frames = tuple(
            x[:, t] if "T" in port.axes else x for x, port in zip(inputs, plan.inputs, strict=True)
        )
        found, state = program.step(frames, state)
        for y, port, z in zip(
            whole, plan.outputs, found if isinstance(found, tuple) else (found,), strict=True
        ):
            if "T" in port.axes:
                assert same(z, y[t])
            elif t == plan.time_steps - 1:
                assert same(z, y)
