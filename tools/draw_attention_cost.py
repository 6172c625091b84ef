"""Draw docs/figures/attention_cost.svg: what attention costs with more tokens and with more
channels.

    python tools/draw_attention_cost.py              (counted: seconds)
    python tools/draw_attention_cost.py --measure    (also timed on this machine: minutes, alone on
    it)

Counted on the graph: masks and additions of mask-and-add attention (SDSA-1, Spike-driven
Transformer), products of softmax attention of the same shape. Measured: milliseconds of one forward
pass in PyTorch, median of rounds.
"""

import sys
import time
from pathlib import Path
from statistics import median

import matplotlib
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from torch import Tensor

from spikedriven.claims.counted import attention_operations, softmax_operations
from spikedriven.layers.attention import mask_and_add_attention
from spikedriven.neurons import LIF

OUT = Path(__file__).parents[1] / "docs" / "figures" / "attention_cost.svg"
TOKENS = (49, 98, 196, 392, 784, 1568)
CHANNELS = (64, 128, 256, 512, 1024)
#: The other axis stays at these.
CHANNELS_FIXED, TOKENS_FIXED, HEADS = 512, 196, 8
ROUNDS = 15


def masked(q: Tensor, neuron: LIF) -> Tensor:
    return mask_and_add_attention(q, q, q, neuron)


def softmax(q: Tensor) -> Tensor:
    heads = q.flatten(3).unflatten(2, (HEADS, -1)).transpose(-1, -2)
    return torch.softmax(heads @ heads.transpose(-1, -2), dim=-1) @ heads


def milliseconds(channels: int, tokens: int) -> tuple[float, float]:
    """(mask-and-add, softmax), in alternation."""
    q, neuron = (torch.rand(1, 1, channels, tokens, 1) < 0.15).float(), LIF(v_threshold=0.5)
    found: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for times, call in zip(
                found, (lambda: masked(q, neuron), lambda: softmax(q)), strict=True
            ):
                start = time.perf_counter()
                call()
                times.append(1000 * (time.perf_counter() - start))
    return median(found[0]), median(found[1])


def series(measure: bool) -> list[tuple[str, tuple[int, ...], list[tuple[float, float]]]]:
    """(axis, sizes, (mask-and-add, softmax) at each size)."""
    shapes = [
        ("tokens", TOKENS, [(CHANNELS_FIXED, n) for n in TOKENS]),
        ("channels", CHANNELS, [(c, TOKENS_FIXED) for c in CHANNELS]),
    ]
    value = (
        milliseconds
        if measure
        else lambda c, n: (attention_operations(c, n), softmax_operations(c, n))
    )
    return [(axis, sizes, [value(*shape) for shape in of]) for axis, sizes, of in shapes]


def draw(
    rows: list[tuple[str, list[tuple[str, tuple[int, ...], list[tuple[float, float]]]]]],
) -> None:
    matplotlib.rcParams["svg.hashsalt"] = "spikedriven"
    figure = Figure(figsize=(8.5, 3.4 * len(rows)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (unit, both), line in zip(rows, axes, strict=True):
        for (name, sizes, values), axis in zip(both, line, strict=True):
            for i, label in enumerate(("mask-and-add", "softmax")):
                axis.loglog(sizes, [value[i] for value in values], marker="o", label=label)
            axis.set_xlabel(name)
            axis.set_ylabel(unit)
            axis.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(OUT, metadata={"Date": None})
    print(OUT)


def main() -> None:
    rows = [("operations", series(measure=False))]
    if "--measure" in sys.argv[1:]:
        rows.append(("milliseconds", series(measure=True)))
    draw(rows)


if __name__ == "__main__":
    main()
