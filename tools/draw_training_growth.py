"""Measure and draw docs/figures/training_growth.svg: a training step against time steps, batch and
image size.

    python tools/draw_training_growth.py             # measures; minutes, on an idle machine
    python tools/draw_training_growth.py --redraw    # from docs/figures/training_growth.json

Forward and backward of one network, as `spikedriven bench train` measures them: each contestant in
a process of its own, asked in turns. One quantity changes at a time; the others stay at
--time-steps, --batch and --img-size. Memory is the most that tensors took at one time, by PyTorch's
allocator.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from rich.progress import track

from spikedriven.bench.contest import choose
from spikedriven.bench.machine import load, machine
from spikedriven.bench.training import CONTESTANTS, Step, measure
from spikedriven.files import write_whole

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
COLOURS = ("#2c5f9e", "#7f7f7f", "#c0392b", "#27823b", "#8e44ad", "#d68910")
#: What changes -> the text under its column.
AXES = {
    "time_steps": "time steps T",
    "batch": "images per step",
    "img_size": "side of the image, pixels",
}


@dataclass(frozen=True)
class Arguments:
    redraw: bool = False
    """Draw from the JSON file that an earlier run wrote."""
    out: Path = FIGURES / "training_growth.svg"
    """The figure; figures are written beside it as .json."""
    model: str = "sdt_2_512_cifar"
    """Registered name."""
    only: tuple[str, ...] = ("ours-bf16", "released", "spikingjelly-bf16")
    """Contestants of `spikedriven bench train`."""
    time_steps: int = 4
    batch: int = 8
    img_size: int = 32
    sweep_time_steps: tuple[int, ...] = (1, 2, 4, 8)
    sweep_batch: tuple[int, ...] = (2, 4, 8, 16, 32)
    sweep_img_size: tuple[int, ...] = (16, 32, 48, 64)
    rounds: int = 5
    """Timed steps of each contestant at each point."""
    threads: int = 2
    """Of each contestant."""


def measured(arguments: Arguments) -> dict[str, Any]:
    """Everything the figure says, and what it was measured on. A point that two columns share
    is measured once.
    """
    found = {
        "model": arguments.model,
        "rounds": arguments.rounds,
        "threads": arguments.threads,
        "machine": machine(),
        "base": {name: getattr(arguments, name) for name in AXES},
    }
    columns = {
        name: [{**found["base"], name: value} for value in getattr(arguments, f"sweep_{name}")]
        for name in AXES
    }
    points = list(
        {tuple(point.values()): point for column in columns.values() for point in column}.values()
    )
    rows = {
        tuple(point.values()): measure_point(arguments, point)
        for point in track(points, arguments.model)
    }
    found["columns"] = {
        name: [{"at": point[name], "contestants": rows[tuple(point.values())]} for point in column]
        for name, column in columns.items()
    }
    found["machine"]["load_at_end"] = load()
    return found


def measure_point(arguments: Arguments, point: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Contestant -> ms per step with its quartiles, MB of tensors. One that fails ends the
    program.
    """
    step = Step(
        arguments.model, point["batch"], tuple((k, v) for k, v in point.items() if k != "batch")
    )
    with tempfile.TemporaryDirectory() as folder:
        results = measure(
            Path(folder) / "step",
            step,
            choose(CONTESTANTS, arguments.only),
            arguments.threads,
            arguments.rounds,
        )
    for result in results:
        if result.status != "measured":
            raise SystemExit(f"{result.name} at {dict(point)}: {result.status}: {result.reason}")
    return {
        result.name: {
            "ms": result.milliseconds.median,
            "q1": result.milliseconds.q1,
            "q3": result.milliseconds.q3,
            "tensors_mb": result.memory.tensors,
        }
        for result in results
    }


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """The exponent p of the power law ``at ** p`` closest to the last two points: 1 is
    proportional.
    """
    return float(np.log(values[-1] / values[-2]) / np.log(at[-1] / at[-2]))


def draw_half(axes: Axes, column: Sequence[Mapping[str, Any]], what: str, scale: float) -> None:
    """One line a contestant, with the exponent of its last stretch; quartiles as a band where
    there are any.
    """
    at = [row["at"] for row in column]
    for colour, name in zip(COLOURS, column[0]["contestants"], strict=False):
        rows = [row["contestants"][name] for row in column]
        values = [row[what] * scale for row in rows]
        axes.plot(
            at,
            values,
            marker="o",
            ms=3.5,
            lw=1.6,
            color=colour,
            label=f"{name} ~{slope(at, values):.1f}",
        )
        if what == "ms":
            axes.fill_between(
                at,
                *([row[q] * scale for row in rows] for q in ("q1", "q3")),
                color=colour,
                alpha=0.15,
            )
    axes.set(xlim=(0, None), ylim=(0, None), xticks=at)
    axes.grid(axis="y", color="#e4e4e4", lw=0.6)
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The figure of a measurement, as `main` writes it into the JSON file."""
    plt.rcParams.update({"font.size": 8.5, "svg.hashsalt": "training_growth", "axes.titlesize": 9})
    figure, grid = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained", sharex="col")
    for (name, text), (time, memory) in zip(AXES.items(), grid.T, strict=True):
        draw_half(time, found["columns"][name], "ms", 1e-3)
        draw_half(memory, found["columns"][name], "tensors_mb", 1.0)
        memory.set_xlabel(text)
        others = {"time_steps": "T", "batch": "batch", "img_size": "pixels"}
        time.set_title(", ".join(f"{others[k]} {v}" for k, v in found["base"].items() if k != name))
    grid[0, 0].set_ylabel("seconds per step")
    grid[1, 0].set_ylabel("tensors alive at most, MB")
    figure.suptitle(
        f"{found['model']}, forward and backward, {found['threads']} threads; ~p: grows as the "
        "p-th power"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    data = arguments.out.with_suffix(".json")
    if not arguments.redraw:
        write_whole(data, json.dumps(measured(arguments), indent=1).encode())
    draw(json.loads(data.read_text()), arguments.out)


if __name__ == "__main__":
    main()
