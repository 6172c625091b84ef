"""The model behind docs/scale.md: seconds, bytes and dollars of a recipe on GPUs, as tables and a
figure.

Nothing is measured here; `scale_model.py` counts and measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).parents[1] / "docs"
GPUS = (1, 2, 4, 8, 16, 32, 64)
#: Users' reports on the releases' code, in the trackers named: recipe, GPUs, seconds per epoch.
REPORTED = {
    "sdt_imagenet_8_512": (
        "8 x A800, 20 min per epoch (Spike-Driven-Transformer, issue 8)",
        8,
        1200.0,
    ),
    "meta_spikeformer_imagenet_15m": (
        "8 x A100, 22 h (Spike-Driven-Transformer-V2, issue 9)",
        8,
        22 * 3600 / 200,
    ),
}
SHOWN = {
    "sdt_imagenet_8_512": "#2c5f9e", "spikingformer_imagenet_8_768": "#c0392b",
    "meta_spikeformer_imagenet_15m": "#27823b",
    "e_spikeformer_imagenet_19m": "#8e44ad", "e_spikeformer_imagenet_171m_finetune": "#d68910",
    "spike_mae_imagenet_12_512": "#16808a",
}  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """What is assumed of one GPU and of the wires between them. Nothing here was measured."""

    name: str = "A100 SXM 80 GB"
    peak: float = 312e12
    """Half precision (fp16, bf16) operations per second, its data sheet."""
    peak_share: float = 0.40
    """Share of it that convolutions and matrix products reach."""
    bandwidth: float = 2.0e12
    """Memory, bytes per second, its data sheet."""
    bandwidth_share: float = 0.70
    """Share of it that element-wise kernels reach."""
    memory: float = 80e9
    """Bytes."""
    per_node: int = 8
    inside: float = 230e9
    """Bytes per second and GPU of an all-reduce within a node (NVLink)."""
    between: float = 20e9
    """Bytes per second and GPU of an all-reduce between nodes (200 Gbit/s each)."""
    dollars: float = 2.0
    """Rent of a GPU for an hour."""


@dataclass(frozen=True)
class Counts:
    """Of one recipe. macs: multiply-accumulates of one image's forward pass; teacher: those of a
    teacher. saved: bytes per image that the forward pass keeps in fp32. images: of one epoch. half:
    trained under autocast.
    """

    params: int
    macs: float
    teacher: float
    saved: float
    batch: int
    images: int
    epochs: int
    half: bool
    averaged: bool


@dataclass(frozen=True)
class Constants:
    """passes: how often each saved byte crosses the memory bus in a step; half_share: bytes kept
    under autocast to bytes kept in fp32.
    """

    passes: float
    half_share: float


def fit(found: Mapping[str, Any]) -> tuple[float, float]:
    """(share of the matrix product's rate, at most 1; passes of each saved byte) that explain the
    measured steps best, in the sense of relative errors: seconds = 6 macs / (share x gemm) + passes
    x saved / copy.
    """
    rows = [
        (
            6 * net["macs"] / found["gemm"] / net["seconds"],
            net["saved"] / found["copy"] / net["seconds"],
        )
        for net in found["networks"]
    ]
    products, traffic = np.array(rows).T
    (inverse, passes), *_ = np.linalg.lstsq(np.array(rows), np.ones(len(rows)), rcond=None)
    if inverse < 1:
        inverse, passes = 1.0, traffic @ (1 - products) / (traffic @ traffic)
    return float(1 / inverse), float(passes)


# The model
# --------------------------------------------------------------------------------------------------


def step_seconds(counts: Counts, constants: Constants, gpu: Gpu, gpus: int) -> float:
    """One optimiser step of `gpus` GPUs with the recipe's batch on each."""
    rate = gpu.peak * gpu.peak_share if counts.half else gpu.peak * gpu.peak_share / 2  # tf32
    products = counts.batch * (6 * counts.macs + 2 * counts.teacher) / rate
    traffic = (
        counts.batch
        * constants.passes
        * _saved(counts, constants)
        / (gpu.bandwidth * gpu.bandwidth_share)
    )
    update = (
        2 * 16 * counts.params / (gpu.bandwidth * gpu.bandwidth_share)
    )  # weight, gradient, two moments: in and out
    backward = 2 / 3 * (products + traffic)
    return products + traffic + update + max(0.0, exchange_seconds(counts, gpu, gpus) - backward)


def exchange_seconds(counts: Counts, gpu: Gpu, gpus: int) -> float:
    """A ring all-reduce of fp32 gradients."""
    wire = gpu.inside if gpus <= gpu.per_node else gpu.between
    return 2 * (gpus - 1) / gpus * 4 * counts.params / wire


def memory_bytes(
    counts: Counts, constants: Constants, gpus: int = 1, sharded: bool = False
) -> tuple[float, float]:
    """(weights, gradients and optimiser state; activations) of each GPU."""
    copies = 16 + 4 * counts.averaged
    state = copies * counts.params / (gpus if sharded else 1)
    return state, counts.batch * _saved(counts, constants)


def hours(counts: Counts, constants: Constants, gpu: Gpu, gpus: int) -> float:
    """The whole recipe without evaluation and loading."""
    steps = counts.epochs * (counts.images // (counts.batch * gpus))
    return steps * step_seconds(counts, constants, gpu, gpus) / 3600


def _saved(counts: Counts, constants: Constants) -> float:
    return counts.saved * (constants.half_share if counts.half else 1.0)


# The page
# --------------------------------------------------------------------------------------------------


def tables(found: Mapping[str, Any], gpu: Gpu) -> dict[str, str]:
    """Markdown by the name of its marker."""
    share, passes = fit(found)
    constants = Constants(passes, found["half_share"])
    recipes = {name: Counts(**values) for name, values in found["recipes"].items()}
    return {
        "assumptions": _assumptions(found, gpu, constants),
        "calibration": _calibration(found, share, passes),
        "counts": _counts(recipes, constants),
        "hours": _hours(recipes, constants, gpu),
        "memory": _memory(recipes, constants, gpu),
        "reported": _reported(recipes, constants, gpu),
        "left out": ", ".join(f"`{name}`" for name in found["left_out"]),
    }


def table(header: str, rows: Sequence[Sequence[str]]) -> str:
    line = "|" + "---|" * (header.count("|") + 1)
    return "\n".join([f"| {header} |", line, *(f"| {' | '.join(row)} |" for row in rows)])


def _assumptions(found: Mapping[str, Any], gpu: Gpu, constants: Constants) -> str:
    rows = [
        (
            "half-precision peak of a GPU",
            f"{gpu.peak / 1e12:.0f} TFLOP/s",
            f"data sheet, {gpu.name}",
        ),
        ("share of it in products", f"{gpu.peak_share:.0%}", "assumed; half of it in fp32 recipes"),
        ("memory bandwidth", f"{gpu.bandwidth / 1e12:.1f} TB/s", "data sheet"),
        ("share of it in element-wise kernels", f"{gpu.bandwidth_share:.0%}", "assumed"),
        (
            "passes over the bus per saved byte, k",
            f"{constants.passes:.1f}",
            "fitted to steps on a CPU",
        ),
        (
            "bytes saved under autocast / in fp32",
            f"{constants.half_share:.2f}",
            "counted on three networks",
        ),
        (
            "all-reduce within a node of 8",
            f"{gpu.inside / 1e9:.0f} GB/s per GPU",
            "assumed (NVLink)",
        ),
        (
            "all-reduce between nodes",
            f"{gpu.between / 1e9:.0f} GB/s per GPU",
            "assumed (200 Gbit/s per GPU)",
        ),
        ("exchange hidden behind", "the backward pass, 2/3 of a step", "assumed"),
        ("rent", f"${gpu.dollars:.2f} per GPU and hour", "assumed"),
    ]
    return table("what | value | where from", rows)


def _calibration(found: Mapping[str, Any], share: float, passes: float) -> str:
    rows = []
    for net in found["networks"]:
        said = 6 * net["macs"] / (share * found["gemm"]) + passes * net["saved"] / found["copy"]
        counted = (str(net["side"]), f"{net['macs'] / 1e9:.1f}", f"{net['saved'] / 1e6:.0f}")
        rows.append([f"`{net['name']}`", *counted, f"{net['seconds']:.2f}", f"{said:.2f}",
                     f"{said / net['seconds'] - 1:+.0%}"])  # fmt: skip
    text = table(
        "network, fp32 | px | GMACs per image | MB saved per image | s per image, measured | "
        "modelled | error",
        rows,
    )
    return (
        f"{text}\n\nOne thread; matrix product {found['gemm'] / 1e9:.0f} GFLOP/s, copy "
        f"{found['copy'] / 1e9:.1f} GB/s (read and written). Fitted: products at {share:.0%} of "
        "that rate, "
        f"k = {passes:.1f}."
    )


def _counts(recipes: Mapping[str, Counts], constants: Constants) -> str:
    rows = [
        [
            f"`{name}`",
            f"{c.params / 1e6:.1f}",
            f"{c.macs / 1e9:.2f}",
            f"{c.teacher / 1e9:.1f}" if c.teacher else "",
            f"{c.saved / 1e6:.0f}",
            f"{_saved(c, constants) / 1e6:.0f}",
            str(c.batch),
            f"{c.images:,}",
            str(c.epochs),
        ]
        for name, c in recipes.items()
    ]
    header = (
        "recipe | M parameters | GMACs forward | teacher's | MB saved, fp32 | as trained | batch "
        "per GPU "
        "| images per epoch | epochs"
    )
    return table(header, rows)


def _hours(recipes: Mapping[str, Counts], constants: Constants, gpu: Gpu) -> str:
    rows = []
    for name, c in recipes.items():
        times = [
            hours(c, constants, gpu, gpus) if c.images >= c.batch * gpus else None for gpus in GPUS
        ]
        cells = ["too few images" if value is None else f"{value:,.1f}" for value in times]
        rows.append([f"`{name}`", f"{1000 * step_seconds(c, constants, gpu, 8):,.0f}", *cells,
                     f"{gpu.dollars * (times[0] or 0):,.0f}"])  # fmt: skip
    numbers = " | ".join(f"{gpus} GPU{'s' if gpus > 1 else ''}" for gpus in GPUS)
    return table(f"extrapolated: hours | ms per step, 8 GPUs | {numbers} | $ on one", rows)


def _memory(recipes: Mapping[str, Counts], constants: Constants, gpu: Gpu) -> str:
    rows = []
    for name, c in recipes.items():
        state, activations = memory_bytes(c, constants)
        spread, _ = memory_bytes(c, constants, 8, sharded=True)
        largest = int((gpu.memory - state) // (activations / c.batch))
        rows.append(
            [
                f"`{name}`",
                *(f"{value / 1e9:.2f}" for value in (state, spread)),
                f"{activations / 1e9:.1f}",
                f"{(state + activations) / 1e9:.1f}",
                str(largest),
            ]
        )
    header = (
        "extrapolated: GB per GPU | state, ddp | state, fsdp on 8 | activations at the recipe's "
        "batch | sum, ddp "
        "| largest batch in 80 GB"
    )
    return table(header, rows)


def _reported(recipes: Mapping[str, Counts], constants: Constants, gpu: Gpu) -> str:
    rows = []
    for name, (text, gpus, epoch) in REPORTED.items():
        ours = hours(recipes[name], constants, gpu, gpus) * 3600 / recipes[name].epochs
        rows.append(
            [f"`{name}`", text, f"{epoch / 60:.1f}", f"{ours / 60:.1f}", f"{ours / epoch:.2f}"]
        )
    return table(
        "recipe | what its users report of the release's code | min per epoch, reported | "
        "extrapolated | ratio",
        rows,
    )


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Replace what stands between ``<!-- NAME -->`` and the next ``<!-- end -->``."""
    for name, text in parts.items():
        before, rest = page.split(f"<!-- {name} -->\n")
        page = f"{before}<!-- {name} -->\n{text}\n<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    return page


def draw(found: Mapping[str, Any], gpu: Gpu, path: Path) -> None:
    """Hours against the number of GPUs; memory of a GPU by what fills it."""
    constants = Constants(fit(found)[1], found["half_share"])
    recipes = {name: Counts(**found["recipes"][name]) for name in SHOWN}
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "scale", "axes.titlesize": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for name, counts in recipes.items():
        times = [hours(counts, constants, gpu, gpus) for gpus in GPUS]
        left.plot(GPUS, times, color=SHOWN[name], marker="o", ms=4, lw=1.6, label=name)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="GPUs",
        ylabel="hours of a whole run",
        title=f"Extrapolated: {gpu.name}",
    )
    left.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
    left.minorticks_off()
    left.grid(color="#e4e4e4", lw=0.6)
    left.legend(fontsize=7, frameon=False)
    parts = [memory_bytes(counts, constants) for counts in recipes.values()]
    state, activations = ([part[i] / 1e9 for part in parts] for i in (0, 1))
    places = range(len(parts))
    right.barh(places, activations, color="#9db8d9", label="kept for the backward pass")
    right.barh(
        places, state, left=activations, color="#c0392b", label="weights, gradients, optimiser"
    )
    right.axvline(
        gpu.memory / 1e9, color="#7f7f7f", lw=1, ls="--", label=f"{gpu.memory / 1e9:.0f} GB"
    )
    right.set_yticks(
        places, [f"{name}\nbatch {counts.batch}" for name, counts in recipes.items()], fontsize=7
    )
    right.invert_yaxis()
    right.set(xlabel="GB on each GPU, extrapolated", title="At the recipe's batch, eager, ddp")
    right.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
