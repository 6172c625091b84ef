"""Would additions of rows beat dense bf16 in training? Forward and weight gradient of one layer on
spikes, measured.

    python tools/measure_sparse_training.py                  (needs g++; a minute on an idle
    machine)

A layer of 8,192 tokens x 512 -> 2,048 (sdt_2_512_cifar, T 4, batch 32, first layer of an MLP).
Forward: for each token the rows of the weights whose input fired. Weight gradient: for each input
the rows of the gradient at whose token it fired. Sums are float32 in registers, 64 columns at a
time; rows are float32, or bfloat16 widened on the way. Finding what fired is timed with it. Against
torch.matmul in bfloat16 and float32, one thread, asked in turns.
"""

import ctypes
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from spikedriven.bench.rounds import Spread, ratios
from spikedriven.bench.worker import seconds_of

TOKENS, INPUTS, OUTPUTS, COLUMNS = 8192, 512, 2048, 64


@dataclass(frozen=True)
class Arguments:
    rates: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    """Firing rates."""
    rounds: int = 7
    """Timed runs of each."""


def compiled(folder: Path) -> ctypes.CDLL:
    """The additions, by g++ for this machine."""
    source = Path(__file__).with_suffix(".cpp")
    library = folder / "rows.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, "-o", str(library), str(source)], check=True)
    return ctypes.CDLL(str(library))


def slabs(x: torch.Tensor) -> torch.Tensor:
    """[rows, columns] -> [columns / 64][rows][64]."""
    return x.view(len(x), -1, COLUMNS).transpose(0, 1).contiguous()


def additions(library: ctypes.CDLL, spikes: torch.Tensor, rows: torch.Tensor, transposed: bool):
    """The function that adds, and where it writes: spikes @ rows, or spikes^T @ rows."""
    tokens, inputs = spikes.shape
    n, m, steps = (inputs, tokens, (1, inputs)) if transposed else (tokens, inputs, (inputs, 1))
    fired, laid, out = spikes.byte().contiguous(), slabs(rows), torch.empty(n, rows.shape[1])
    function = library.add_bf16 if rows.dtype == torch.bfloat16 else library.add_f32
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (fired, laid, out)]

    def run() -> None:
        function(
            pointers[0], n, m, *map(ctypes.c_long, steps), pointers[1], rows.shape[1], pointers[2]
        )

    run.keep = (fired, laid)  # type: ignore[attr-defined]
    return run, out


def measure(library: ctypes.CDLL, rate: float, rounds: int, transposed: bool) -> list[str]:
    """One line of the table: milliseconds of each way, and dense bf16 over additions of bf16
    rows.
    """
    rng = torch.Generator().manual_seed(0)
    spikes = (torch.rand(TOKENS, INPUTS, generator=rng) < rate).float()
    rows = torch.randn(TOKENS if transposed else INPUTS, OUTPUTS, generator=rng)
    left = spikes.t() if transposed else spikes
    half_left, half_rows = left.bfloat16(), rows.bfloat16()
    (f32, out), (bf16, _) = (
        additions(library, spikes, rows, transposed),
        additions(library, spikes, half_rows, transposed),
    )
    f32()
    np.testing.assert_allclose(
        out.numpy(), (left.double() @ rows.double()).numpy(), rtol=1e-3, atol=1e-3
    )
    calls = [f32, bf16, lambda: left @ rows, lambda: half_left @ half_rows]
    times = [[seconds_of(call) for call in calls] for _ in range(rounds + 1)][1:]
    columns = list(zip(*times, strict=True))
    gain = ratios(columns[3], columns[1])
    cells = [f"{1e3 * Spread.of(column).median:.1f}" for column in columns]
    return [f"{rate:.0%}", *cells, f"{gain.median:.2f} ({gain.q1:.2f}-{gain.q3:.2f})"]


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))
        for transposed in (False, True):
            table = Table(title="weight gradient" if transposed else "forward")
            for name in (
                "rate",
                "rows f32, ms",
                "rows bf16, ms",
                "dense f32, ms",
                "dense bf16, ms",
                "dense bf16 / rows bf16",
            ):
                table.add_column(name, justify="right")
            for rate in arguments.rates:
                table.add_row(*measure(library, rate, arguments.rounds, transposed))
            console.print(table)


if __name__ == "__main__":
    main()
