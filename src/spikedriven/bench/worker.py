"""A contestant in a process of its own: its own threads, its own memory, one timed run whenever it
is asked.

Messages from the parent: a round's number, or None to end. Answers: ("ready", outputs), then
seconds per round, then ("memory", Memory); or ("failed", reason) at any point.
"""

import contextlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikedriven.bench.contestants import Contestant, Run, Task
from spikedriven.bench.memory import Memory, process_peak, tensors_peak
from spikedriven.bench.subject import load_inputs
from spikedriven.plugins import load_plugins

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerError(Exception):
    """A contestant's process ended, or said why it cannot go on."""


class Worker:
    """The parent's side. prepare: run the contestant's first half, and end."""

    def __init__(
        self, name: str, task: Task, table: Mapping[str, Contestant], prepare: bool = False
    ) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        log = task.folder / f"{name}-{'prepare' if prepare else 'run'}.log"
        self.process = multiprocessing.get_context("spawn").Process(
            target=_prepare if prepare else _serve,
            args=(theirs, table[name], task, log),
            daemon=True,
        )
        with _threads(task.threads):
            self.process.start()
        theirs.close()

    def receive(self) -> Any:
        """The next answer. WorkerError with the reason, also where the process died without a
        word.
        """
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join(5)
            raise WorkerError(f"its process ended with exit code {self.process.exitcode}") from None
        if kind == "failed":
            raise WorkerError(value)
        return value

    def ask(self, message: int | None) -> Any:
        """Send a round's number (or None: end) and wait for the answer."""
        # of a dead process, what it said before, or its exit code, is read below
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)
        return self.receive()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join()


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Variables that a child's libraries read when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _prepare(connection: Connection, contestant: Contestant, task: Task, log: Path) -> None:
    with _told(connection, log):
        load_plugins()  # the parent's: it has left them in the environment
        torch.set_num_threads(task.threads)
        start = time.perf_counter()
        if contestant.prepare is not None:
            contestant.prepare(task)
        connection.send(("prepared", time.perf_counter() - start))


def _serve(connection: Connection, contestant: Contestant, task: Task, log: Path) -> None:
    with _told(connection, log):
        load_plugins()  # the parent's: it has left them in the environment
        torch.set_num_threads(task.threads)
        imported = process_peak()
        function, batches = _load(contestant, task)
        outputs = torch.cat(
            [function(batch) for batch in batches], _batch_axis(function, batches[0])
        )
        connection.send(("ready", outputs.cpu()))
        while (number := connection.recv()) is not None:
            connection.send(("time", _timed(function, batches[number % len(batches)])))
        peak = process_peak()
        tensors = (
            tensors_peak(lambda: _two_calls(contestant, task), task.device)
            if task.tensors
            else None
        )
        connection.send(("memory", Memory(peak, peak - imported, tensors)))


def _load(contestant: Contestant, task: Task) -> tuple[Run, list[Tensor]]:
    """(what is timed, batches to call it with)."""
    return contestant.load(task), _batches(load_inputs(task.folder)[0].to(task.device), task.batch)


def _two_calls(contestant: Contestant, task: Task) -> None:
    """Loaded anew: a training step begins with the gradients of the one before it."""
    function, batches = _load(contestant, task)
    for _ in range(2):
        function(batches[0])


def _batches(inputs: Tensor, batch: int) -> list[Tensor]:
    return [inputs[i : i + batch].contiguous() for i in range(0, len(inputs) - batch + 1, batch)]


def _batch_axis(function: Run, batch: Tensor) -> int:
    """0 of logits [B, classes], 1 of logits per step [T, B, classes]."""
    return function(batch).ndim - 2


def _timed(function: Run, batch: Tensor) -> float:
    """Seconds of one call. The call before it, not timed, brings weights and threads back after
    the others' turns.
    """
    seconds_of(lambda: function(batch))
    return seconds_of(lambda: function(batch))


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall-clock time of one call, with what it told a GPU to do."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@contextlib.contextmanager
def _told(connection: Connection, log: Path) -> Iterator[None]:
    """What libraries print goes to a file; an error, whatever it is, goes to the parent as its
    last line.
    """
    with log.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    try:
        yield
    except EOFError:
        pass  # the parent has gone
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().partition("\n")[0]
        connection.send(("failed", f"{type(error).__name__}: {first}"[:300]))
