"""What `make demo` runs: train the quickstart recipe on the embedded images, evaluate it, show what
its neurons fire, compile it and time the program, write the report. What each phase took is printed
at the end.

    python tools/demo.py --out runs/quickstart
"""

import argparse
import shlex
import statistics
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import spikedriven as sd
from spikedriven.cli import main as spikedriven
from spikedriven.data import build_eval_loader
from spikedriven.report.page import write_report
from spikedriven.runs.checkpoint import load_run

IMAGES = 500  # for firing rates; they settle after a few hundred


class Phases:
    """Seconds of each phase. began: when the installation began, in seconds since 1970."""

    def __init__(self, began: float | None) -> None:
        self.seconds: dict[str, float] = {}
        self.since = time.time()
        if began is not None:
            self.seconds["installation, imports"] = max(0.0, self.since - began)

    def end(self, name: str) -> None:
        now = time.time()
        self.seconds[name], self.since = now - self.since, now

    def show(self) -> None:
        table = Table(title="What the time went into")
        table.add_column("phase")
        table.add_column("seconds", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.0f}")
        table.add_row("all", f"{sum(self.seconds.values()):.0f}", style="bold")
        Console().print(table)


def show_firing_rates(run: Path) -> None:
    """Per-layer mean output over test images."""
    model, recipe = load_run(run)
    loader = build_eval_loader(recipe.data, "test", batch_size=100)
    batches = [
        images
        for images, _ in zip((images for images, _ in loader), range(IMAGES // 100), strict=False)
    ]
    table = Table(title=f"Firing rates: spikes per neuron and step, mean over {IMAGES} test images")
    table.add_column("neuron")
    table.add_column("rate", justify="right")
    for name, rate in sd.firing_rates(model, batches).items():
        table.add_row(name, f"{100 * rate:.1f} %")
    Console().print(table)


def show_engine(run: Path) -> None:
    """Compile the run, and time program and PyTorch in turns, one image at a time."""
    model, recipe = load_run(run)
    images = next(iter(build_eval_loader(recipe.data, "test", batch_size=IMAGES)))[0]
    program = sd.compile(model, images)
    times: dict[str, list[float]] = {"PyTorch": [], "program": []}
    same = 0
    with torch.inference_mode():
        for image in images.split(1):
            start = time.perf_counter()
            expected = model(image)
            middle = time.perf_counter()
            found = program(image)
            times["PyTorch"].append(middle - start)
            times["program"].append(time.perf_counter() - middle)
            same += int(expected.argmax() == found.argmax())
    slow, fast = (1000 * statistics.median(times[name]) for name in ("PyTorch", "program"))
    engine = (
        "compiled engine"
        if program.is_native
        else "twin: no C++ compiler was found at installation"
    )
    Console().print(
        f"One image at a time, {torch.get_num_threads()} threads, median of {len(images)}: PyTorch "
        f"{slow:.2f} ms, "
        f"spikedriven.compile {fast:.2f} ms ({engine}), {slow / fast:.1f} times as fast; same "
        f"class for {same} images"
    )
    program.save(run / "program.sdp")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/quickstart"),
        help="run folder, continued if it exists",
    )
    parser.add_argument("--began", type=float, help="when `make demo` began: seconds since 1970")
    options = parser.parse_args()
    run, phases = options.out, Phases(options.began)
    for phase, command in (
        ("training", ["train", "quickstart", "--run.out", str(run), "--resume"]),
        ("evaluation", ["eval", str(run)]),
    ):
        status = spikedriven(command)
        if status:
            return status
        phases.end(phase)
    show_firing_rates(run)
    phases.end("firing rates")
    show_engine(run)
    phases.end("compiled program")
    page = write_report(run, run / "report.html")
    phases.end("report")
    phases.show()
    demo = shlex.join([str(Path(sys.executable).parent / "spikedriven"), "demo", str(run)])
    sys.stdout.write(
        f"\nRun saved in {run.resolve()}\nReport, for any browser: {page.resolve()}\n"
        f"Draw a garment and watch it being classified: {demo}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
