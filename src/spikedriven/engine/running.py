"""`Program`: a plan that runs."""

import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven import figures
from spikedriven.engine.arrays import Values, given_back, is_tensor
from spikedriven.engine.describe import operation_records, table
from spikedriven.engine.file import MAX_BYTES, load_named, save
from spikedriven.engine.native import NativeRun
from spikedriven.engine.ports import handed, taken
from spikedriven.engine.program import Map, Plan
from spikedriven.engine.stream import State, Stepped, stepped
from spikedriven.engine.twin import run_twin
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available
from spikedriven.tabular import Tabular

MOST_THREADS = 1024

#: A tensor, a tuple of tensors or a dictionary of tensors, as the plan says; arrays where arrays
#: came in.
Result = Any


class Program(Tabular):
    """A compiled network: ``program(x)`` gives what the model gave, up to the rounding of its
    weights to integers.

    plan: the operations. threads: how many cores to use (default: all this process may use).
    native: False computes with the readable twin, True insists on the compiled engine, None takes
    what is there. isa: kernels to use, "" the widest of the machine. Inputs are torch tensors or
    NumPy arrays, and so are outputs; for arrays torch is not needed. `classes`: names of the
    outputs, where the network had them (that of a run has); they are kept in its file. Results do
    not depend on threads, batch, isa or native. ``print(program)`` tells what it is.
    """

    def __init__(self, plan: Plan, native: bool | None = None, isa: str = "") -> None:
        if native and not available():
            raise InputError(
                "this installation has no compiled engine; install a C++ compiler and reinstall "
                "spikedriven, or leave "
                "native=None to use the slower twin"
            )
        if native is None and not available():
            warnings.warn(
                "spikedriven was installed without its compiled engine: programs run in the "
                "readable twin, which gives "
                "the same result and is slow. Install a C++ compiler, then spikedriven again "
                "(docs/install.md)",
                stacklevel=3,
            )
        self.plan = plan
        self.classes: tuple[str, ...] = ()
        self.threads = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        self.isa = isa
        self._native = NativeRun(plan, isa) if native or (native is None and available()) else None

    def __call__(self, *inputs: Values) -> Result:
        """Inputs, float32, of the sizes it was compiled for, such as images [B, C, H, W] or frames
        [B, T, C, H, W] -> the output; several as a tuple, or as a dictionary where they have names.
        """
        maps = self._outputs(self.plan, self._native, inputs)
        return self._arranged(maps, self.plan, any(map(is_tensor, inputs)))

    def step(
        self, inputs: Values | tuple[Values, ...], state: State | None = None
    ) -> tuple[Result, State]:
        """One time step of a stream -> its output, and the state with which the next step begins.

        inputs: as of a call, without the axis of time: frames [B, C, H, W]. state: None to begin.
        An output per step is that of this step; what is a mean over time is the mean so far. The
        steps of a sequence give what one call gives, bit for bit; a stream may be longer than
        ``plan.time_steps``. InputError for the state of another program or batch, and for a network
        that needs all steps at once.
        """
        frames = inputs if isinstance(inputs, tuple) else (inputs,)
        streaming, native = self._streaming
        state = streaming.begin(self._batch(frames)) if state is None else state
        plan = streaming.plan
        maps = self._outputs(plan, native, streaming.inputs(frames, state))
        shown = len(self.plan.outputs)
        ports = plan.outputs[shown:]
        kept = [
            handed(x, port, plan.maps[port.map], 1)
            for x, port in zip(maps[shown:], ports, strict=True)
        ]
        tensors = any(map(is_tensor, frames))
        after = State(state.steps + 1, tuple(given_back(x, tensors) for x in kept))
        return self._arranged(maps[:shown], plan, tensors), after

    def maps(self, *inputs: Values) -> list[tuple[Map, Values]]:
        """Every map for a batch of one, with what it is: for comparing and for drawing."""
        arrays = taken(self.plan, inputs)
        if len(arrays[0]) != 1:
            raise InputError(f"maps are those of a batch of one, found {len(arrays[0])} samples")
        sample = [x[0] for x in arrays]
        if self._native is None:
            found = run_twin(self.plan, sample)
            values = [found[i] for i in range(len(self.plan.maps))]
        else:
            run = NativeRun(self.plan, self.isa, keep=True)
            run(sample, self.threads)
            values = [run.read(i) for i in range(len(self.plan.maps))]
        tensors = any(map(is_tensor, inputs))
        arrays_of = map(np.ascontiguousarray, values)
        return [(m, given_back(v, tensors)) for m, v in zip(self.plan.maps, arrays_of, strict=True)]

    @property
    def is_native(self) -> bool:
        """Whether the compiled engine runs, not the twin."""
        return self._native is not None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program as one file (safetensors; `load_program` reads it)."""
        save(self.plan, path, self.classes)

    def records(self) -> list[dict[str, Any]]:
        """One row an operation, in the order in which they run: kind, mode, weights, bytes of
        its numbers.
        """
        return operation_records(self.plan)

    def headline(self) -> str:
        """What ``print(program)`` tells."""
        return str(self)

    def plot(self) -> Any:
        """The weights of each operation that has some: a figure."""
        rows = [row for row in self.records() if row["weights"]]
        names = [f"{row['operation']} {row['kind']}" for row in rows]
        return figures.bars(names, {"weights": [row["weights"] for row in rows]}, "weights")

    def __repr__(self) -> str:
        inputs, outputs = len(self.plan.inputs), len(self.plan.outputs)
        return (
            f"Program({len(self.plan.operations)} operations, {inputs} inputs, {outputs} outputs)"
        )

    def __str__(self) -> str:
        return table(self.plan, self.is_native)

    @cached_property
    def _streaming(self) -> tuple[Stepped, NativeRun | None]:
        streaming = stepped(self.plan)
        return streaming, None if self._native is None else NativeRun(streaming.plan, self.isa)

    def _batch(self, frames: Sequence[Values]) -> int:
        first = frames[0] if frames else None
        return 0 if first is None or not getattr(first, "ndim", 0) else len(first)

    def _outputs(
        self, plan: Plan, native: NativeRun | None, inputs: Sequence[Values]
    ) -> list[NDArray[Any]]:
        """The maps of each output for a batch, [B, steps, height, width, channels]."""
        if not isinstance(self.threads, int) or not 1 <= self.threads <= MOST_THREADS:
            raise InputError(
                f"threads must be a whole number from 1 to {MOST_THREADS}, found {self.threads!r}"
            )
        arrays = taken(plan, inputs)
        samples = ([x[i] for x in arrays] for i in range(len(arrays[0])))
        if native is not None:
            outputs = [native(sample, self.threads) for sample in samples]
        else:
            runs = (run_twin(plan, sample) for sample in samples)
            outputs = [[maps[port.map] for port in plan.outputs] for maps in runs]
        return [np.stack(values) for values in zip(*outputs, strict=True)]

    def _arranged(self, maps: Sequence[NDArray[Any]], plan: Plan, tensors: bool) -> Result:
        """The outputs as the model gave them."""
        ports = plan.outputs[: len(maps)]
        results = [
            given_back(handed(values, port, plan.maps[port.map], plan.time_steps), tensors)
            for values, port in zip(maps, ports, strict=True)
        ]
        if ports[0].name:
            return {port.name: value for port, value in zip(ports, results, strict=True)}
        return results[0] if len(results) == 1 else tuple(results)


def load_program(
    path: str | os.PathLike[str], native: bool | None = None, max_bytes: int = MAX_BYTES
) -> Program:
    """A program written by ``Program.save`` or ``spikedriven compile``; it computes the bits that
    it computed then.

    native: see `Program`. max_bytes: the memory that the program may need, so that a small file
    cannot ask for more than expected. Raises CheckpointError where the file is missing, damaged, of
    another kind or version, needs more memory, or asks for something that the engine could not do
    safely.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> sd.compile(model, images).save("net.sdp")
        >>> program = sd.load_program("net.sdp")
        >>> program(images.numpy()).shape
        (4, 10)
    """
    plan, classes = load_named(path, max_bytes)
    program = Program(plan, native)
    program.classes = classes
    return program
