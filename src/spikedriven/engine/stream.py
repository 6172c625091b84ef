"""A plan one time step at a time: the same operations on one step, with what they remember as
inputs and outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spikedriven.engine.arrays import Values
from spikedriven.engine.program import (
    Concat,
    Image,
    Map,
    MaskedAttention,
    Pick,
    Plan,
    Port,
    Quotient,
    Sum,
    TimeMean,
    read_by,
    written_by,
)
from spikedriven.errors import InputError
from spikedriven.kernels.spec import LIFSpec

#: Axes of what is remembered.
KEPT = "BHWC"


@dataclass(frozen=True)
class State:
    """What a stream remembers after ``steps`` steps: membranes of neurons and sums over time,
    each [B, H, W, C].
    """

    steps: int
    values: tuple[Values, ...]


@dataclass(frozen=True)
class Stepped:
    """A plan of one time step. Its first inputs and outputs are those of the whole plan, without T;
    then one of each for every value that is remembered; the last input is the number of steps so
    far, this one included.

    starts: the values before the first step.
    """

    plan: Plan
    starts: tuple[float, ...]

    def begin(self, batch: int) -> State:
        """The state before the first step."""
        maps = [self.plan.maps[port.map] for port in self.remembered()]
        return State(
            0,
            tuple(
                np.full((batch, m.height, m.width, m.channels), start, dtype=np.float32)
                for m, start in zip(maps, self.starts, strict=True)
            ),
        )

    def remembered(self) -> tuple[Port, ...]:
        """The inputs that are remembered."""
        return self.plan.inputs[len(self.plan.inputs) - 1 - len(self.starts) : -1]

    def inputs(self, frames: Sequence[Values], state: State) -> list[Values]:
        """All inputs of the plan for a batch; InputError unless the state is one of this
        program and batch.
        """
        if not isinstance(state, State):
            raise InputError(
                "a state is what program.step returned, or None to begin; found "
                f"{type(state).__name__}"
            )
        batch = len(frames[0]) if getattr(frames[0], "ndim", 0) else 0
        found = [list(x.shape) for x in state.values]
        expected = [list(x.shape) for x in self.begin(batch).values]
        if found != expected or type(state.steps) is not int or state.steps < 0:
            raise InputError(
                f"this state is of another program or of another batch than {batch}; go on with "
                "the state "
                "that the last step of this stream returned, or with None to begin"
            )
        count = np.full((batch, 1, 1, 1), state.steps + 1, dtype=np.float32)
        return [*frames, *state.values, count]


def stepped(plan: Plan) -> Stepped:
    """The plan that computes one step; InputError where an operation needs all steps at once."""
    return _Stepping(plan).result()


class _Stepping:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.maps = [replace(m, steps=1) for m in plan.maps]
        self.images: list[Image] = [o for o in plan.operations if isinstance(o, Image)]
        self.operations: list[Any] = []
        self.starts: list[float] = []
        self.after: list[Port] = []
        self.late: set[int] = set()  # maps that are known only after the last step
        self.befores: list[int] = []
        self.count = self.new(1, 1, 1, "steps so far")

    def result(self) -> Stepped:
        for index, operation in enumerate(self.plan.operations):
            if not isinstance(operation, Image):
                try:
                    self.add(operation)
                except InputError as error:
                    raise InputError(
                        f"this program cannot be run step by step: operation {index} "
                        f"({type(operation).__name__}) {error}"
                    ) from None
        befores = [*self.befores, self.count]
        first = len(self.images)
        images = [Image(index, first + i) for i, index in enumerate(befores)]
        inputs = (*map(_timeless, self.plan.inputs), *(Port(index, KEPT) for index in befores))
        named = any(port.name for port in self.plan.outputs)
        kept = [
            replace(port, name=f"state {i}") if named else port for i, port in enumerate(self.after)
        ]
        outputs = (*map(_timeless, self.plan.outputs), *kept)
        operations = (*self.images, *images, *self.operations)
        return Stepped(Plan(1, tuple(self.maps), operations, inputs, outputs), tuple(self.starts))

    def new(self, height: int, width: int, channels: int, name: str) -> int:
        self.maps.append(Map("real", 1, height, width, channels, name))
        return len(self.maps) - 1

    def remember(
        self, height: int, width: int, channels: int, name: str, start: float
    ) -> tuple[int, int]:
        """Maps of a value before and after the step."""
        before, after = (self.new(height, width, channels, name) for _ in range(2))
        self.befores.append(before)
        self.after.append(Port(after, KEPT))
        self.starts.append(start)
        return before, after

    def add(self, operation: Any) -> None:
        late = any(index in self.late for index in read_by(operation))
        fires = isinstance(getattr(operation, "neuron", None), LIFSpec)
        many = any(self.plan.maps[index].steps > 1 for index in written_by(operation))
        if late and (fires or many):
            raise InputError("reads a mean over time again at every step")
        if isinstance(operation, Concat) and operation.axis == "steps" and len(operation.parts) > 1:
            raise InputError("joins maps along time")
        if isinstance(operation, TimeMean):
            self.mean(operation)
        elif isinstance(operation, Pick):
            self.operations.append(self.one_step(operation))
        else:
            self.operations.append(self.with_membrane(operation) if fires else operation)
        if late or isinstance(operation, TimeMean):
            self.late |= set(written_by(operation))

    def mean(self, operation: TimeMean) -> None:
        """The sum so far, divided by the steps so far."""
        if self.plan.time_steps > 1 and self.plan.maps[operation.source].steps == 1:
            self.operations.append(operation)
            return
        m = self.maps[operation.source]
        before, after = self.remember(m.height, m.width, m.channels, f"sum of {m.name}", 0.0)
        self.operations += [
            Sum(before, operation.source, after),
            Quotient(after, self.count, operation.out),
        ]

    def one_step(self, pick: Pick) -> Pick:
        steps = self.plan.maps[pick.source].steps
        if steps > 1 and pick.steps.tolist() != list(range(steps)):
            raise InputError("picks steps of time")
        return replace(pick, steps=np.zeros(1, dtype=np.int32))

    def with_membrane(self, operation: Any) -> Any:
        if operation.before is not None or operation.after is not None:
            raise InputError("already has its membrane as a map")
        fired = written_by(operation)[-1]
        m = self.maps[fired]
        one = isinstance(operation, MaskedAttention)  # its neurons read sums over all positions
        height, width = (1, 1) if one else (m.height, m.width)
        rest = operation.neuron.rest
        before, after = self.remember(height, width, m.channels, f"membrane of {m.name}", rest)
        return replace(operation, before=before, after=after)


def _timeless(port: Port) -> Port:
    return replace(port, axes=port.axes.replace("T", ""))
