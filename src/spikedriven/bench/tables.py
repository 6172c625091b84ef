"""Results as a table for the terminal."""

from collections.abc import Sequence
from dataclasses import astuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from spikedriven.bench.contest import Result
from spikedriven.bench.memory import Memory
from spikedriven.bench.rounds import Spread
from spikedriven.bench.subject import Subject
from spikedriven.bench.training import Step, reference_of

COLUMNS = ("contestant", "ms (quartiles)", "x engine", "top-1", "difference", "MB (own)")


def table(subject: Subject, results: Sequence[Result]) -> Group:
    """One network: what it is and how often it fires, then a row per contestant."""
    title = f"{subject.target.target}, T = {subject.time_steps}, input {list(subject.input_shape)}"
    shown = Table(title=title, box=box.SIMPLE_HEAD)
    for index, column in enumerate(COLUMNS):
        shown.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for result in results:
        shown.add_row(*_cells(result))
    notes = [f"{r.name}: {r.status}: {r.reason}" for r in results if r.reason]
    return Group(shown, Text("\n".join([*notes, *_density(subject)])))


def training_table(step: Step, results: Sequence[Result]) -> Group:
    """One training step: a row per contestant."""
    args = "".join(f", {key} {value}" for key, value in step.args)
    shown = Table(
        title=f"{step.model}{args}, batch {step.batch}: forward and backward", box=box.SIMPLE_HEAD
    )
    reference = reference_of({result.name for result in results})
    columns = ("ms/image (quartiles)", f"x {reference}", "tensors MB", "process MB (own)")
    for index, column in enumerate(("contestant", *columns)):
        shown.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for result in results:
        if result.milliseconds is None or result.memory is None:
            shown.add_row(result.name, result.status)
            continue
        per_image = Spread(*(value / step.batch for value in astuple(result.milliseconds)))
        slower = _spread(result.slower) if result.slower else ""
        shown.add_row(
            result.name,
            _spread(per_image),
            slower,
            f"{result.memory.tensors:.0f}",
            _process(result.memory),
        )
    return Group(
        shown, Text("\n".join(f"{r.name}: {r.status}: {r.reason}" for r in results if r.reason))
    )


def _cells(result: Result) -> list[str]:
    if result.milliseconds is None or result.memory is None:
        return [result.name, result.status]
    return [
        result.name,
        _spread(result.milliseconds),
        _spread(result.slower) if result.slower else "",
        f"{result.top1_agreement:.0%}",
        f"{result.largest_difference:.1g}",
        _process(result.memory),
    ]


def _process(memory: Memory) -> str:
    return f"{memory.peak:.0f} ({memory.own:.0f})"


def _spread(spread: Spread) -> str:
    digits = 1 if spread.median >= 10 else 2
    return f"{spread.median:.{digits}f} ({spread.q1:.{digits}f}-{spread.q3:.{digits}f})"


def _density(subject: Subject) -> list[str]:
    found = subject.density
    groups = ", ".join(f"{name} {share:.3f}" for name, share in found.groups.items())
    lines = [
        f"weights: {subject.weights}; images: {subject.images}",
        f"firing: {found.neurons:.3f} of all neuron outputs; a spike triggers "
        f"{found.additions:.3f} of the dense "
        "operations behind neurons",
        f"by role: {groups}",
    ]
    if subject.unmoved:
        lines.append(f"rate not set, nothing moves it: {', '.join(subject.unmoved)}")
    return lines
