"""What `make demo` runs: train the quickstart recipe on the embedded images, evaluate it, show what its neurons fire,
write the report.

    python tools/demo.py --out runs/quickstart
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import spikedriven as sd
from spikedriven.cli import main as spikedriven
from spikedriven.data import build_eval_loader
from spikedriven.report.page import write_report
from spikedriven.training.checkpoint import load_run

IMAGES = 500  # for firing rates; they settle after a few hundred


def show_firing_rates(run: Path) -> None:
    """Per-layer mean output over test images."""
    model, recipe = load_run(run)
    loader = build_eval_loader(recipe.data, "test", batch_size=100)
    batches = [images for images, _ in zip((images for images, _ in loader), range(IMAGES // 100), strict=False)]
    table = Table(title=f"Firing rates: spikes per neuron and step, mean over {IMAGES} test images")
    table.add_column("neuron")
    table.add_column("rate", justify="right")
    for name, rate in sd.firing_rates(model, batches).items():
        table.add_row(name, f"{100 * rate:.1f} %")
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="run folder, continued if it exists")
    run = parser.parse_args().out
    for command in (["train", "quickstart", "--run.out", str(run), "--resume"], ["eval", str(run)]):
        status = spikedriven(command)
        if status:
            return status
    show_firing_rates(run)
    page = write_report(run, run / "report.html")
    sys.stdout.write(f"\nRun saved in {run.resolve()}\nReport, for any browser: {page.resolve()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
