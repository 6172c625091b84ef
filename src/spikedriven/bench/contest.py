"""Contestants against each other: prepared, started, checked, timed in turns; one row of
results each.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from spikedriven.bench.contestants import Contestant, Task
from spikedriven.bench.memory import Memory
from spikedriven.bench.rounds import Spread, alternate, ratios
from spikedriven.bench.worker import Worker, WorkerError
from spikedriven.errors import InputError

#: Called with a text when something starts, and with None when one step is over.
Tell = Callable[[str | None], None]


@dataclass(frozen=True)
class Result:
    """One row. status: "measured", "not installed" or "failed" (reason says why; everything else is
    then None).

    milliseconds: of one call. slower: than the reference, ratio per round; None where that was not
    measured. memory: of the process that ran it. prepare_seconds: for writing what it loads.
    top1_agreement: share of outputs whose largest class is that of the float model;
    largest_difference: of outputs, absolute, where largest_output is the float model's largest.
    times_ms: one per round.
    """

    name: str
    what: str
    status: str
    reason: str | None = None
    milliseconds: Spread | None = None
    slower: Spread | None = None
    memory: Memory | None = None
    prepare_seconds: float | None = None
    top1_agreement: float | None = None
    largest_difference: float | None = None
    largest_output: float | None = None
    times_ms: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def choose(contestants: Mapping[str, Contestant], only: Sequence[str]) -> dict[str, Contestant]:
    """Those that ``only`` names, in the table's order; all where it names none. InputError for
    an unknown name.
    """
    unknown = set(only) - contestants.keys()
    if unknown:
        raise InputError(
            f"no contestant is called {', '.join(sorted(unknown))}; choose from "
            f"{', '.join(contestants)}"
        )
    return {
        name: contestant for name, contestant in contestants.items() if not only or name in only
    }


def steps(contestants: Mapping[str, Contestant], rounds: int) -> int:
    """How often `run_contestants` tells of a finished step."""
    return len(contestants) * (2 + rounds)


def run_contestants(
    task: Task,
    contestants: Mapping[str, Contestant],
    expected: Tensor | None,
    rounds: int,
    reference: str,
    tell: Tell,
) -> list[Result]:
    """Prepare, start, compare and time. expected: what the outputs are compared with, or None.
    reference: whose time the others' are divided by.
    """
    results = {name: _prepare(name, contestants, task, tell) for name in contestants}
    with ExitStack() as stack:
        tell("starting, each in its own process")
        workers = {
            n: Worker(n, task, contestants)
            for n, result in results.items()
            if result.status == "measured"
        }
        for worker in workers.values():
            stack.callback(worker.stop)
        for name, result in results.items():
            if name in workers:
                results[name] = _ready(result, workers[name], expected)
            tell(None)
        workers = {
            name: worker for name, worker in workers.items() if results[name].status == "measured"
        }
        tell(f"{rounds} rounds")
        times, failed = alternate(workers, rounds, after=lambda: tell(None))
        tell("memory")
        for name in times:
            try:
                results[name] = _measured(results[name], times, reference, workers[name])
            except WorkerError as error:
                failed[name] = str(error)
    for name, reason in failed.items():
        results[name] = _failed(results[name], reason)
    return list(results.values())


def _prepare(name: str, contestants: Mapping[str, Contestant], task: Task, tell: Tell) -> Result:
    contestant = contestants[name]
    result = Result(name, contestant.what, "measured")
    if not contestant.installed:
        result = replace(result, status="not installed", reason=f"pip install {contestant.package}")
    elif contestant.prepare is not None:
        tell(f"preparing {name}")
        worker = Worker(name, task, contestants, prepare=True)
        try:
            result = replace(result, prepare_seconds=worker.receive())
        except WorkerError as error:
            result = _failed(result, str(error))
        finally:
            worker.stop()
    tell(None)
    return result


def _ready(result: Result, worker: Worker, expected: Tensor | None) -> Result:
    """Wait for a worker to be ready, and compare what it computes with what is expected."""
    try:
        outputs = worker.receive()
    except WorkerError as error:
        return _failed(result, str(error))
    if expected is None:
        return result
    axis = outputs.ndim - 2
    expected = expected.narrow(axis, 0, outputs.shape[axis])
    return replace(
        result,
        top1_agreement=(outputs.argmax(-1) == expected.argmax(-1)).double().mean().item(),
        largest_difference=(outputs - expected).abs().max().item(),
        largest_output=expected.abs().max().item(),
    )


def _failed(result: Result, reason: str) -> Result:
    return Result(
        result.name, result.what, "failed", reason, prepare_seconds=result.prepare_seconds
    )


def _measured(
    result: Result, times: Mapping[str, Sequence[float]], reference: str, worker: Worker
) -> Result:
    milliseconds = tuple(1e3 * seconds for seconds in times[result.name])
    return replace(
        result,
        milliseconds=Spread.of(milliseconds),
        slower=ratios(times[result.name], times[reference]) if reference in times else None,
        memory=worker.ask(None),
        times_ms=milliseconds,
    )
