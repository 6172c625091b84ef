"""Measure and draw docs/figures/engine_crossover.svg: the engine's time against the firing rate,
and dense arithmetic.

    python tools/draw_engine_crossover.py             # measures; minutes, on an idle machine
    python tools/draw_engine_crossover.py --redraw    # from docs/figures/engine_crossover.json

Left: one layer, 784 tokens x 512 -> 2048, with its neurons (a program with it, less the program
without it), against the bare dense product of the same size in fp32, bf16 and int8. Right: a whole
network, against the dense contestants of `spikedriven bench engine`, whose time does not depend on
rates.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from rich.progress import track
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.bench.contest import choose
from spikedriven.bench.contestants import CONTESTANTS
from spikedriven.bench.engine import measure
from spikedriven.bench.machine import load, machine
from spikedriven.bench.rates import shift_for
from spikedriven.bench.rounds import alternate
from spikedriven.bench.subject import USUAL_RATE, make_subject
from spikedriven.files import write_whole
from spikedriven.layers.units import ConvBN, ProjectFire
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.neurons import LIF
from spikedriven.runs.target import Target

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
STEPS, SIDE, INPUTS, OUTPUTS = 4, 14, 512, 2048  # 4 x 14 x 14 = 784 tokens
DENSE = ("eager", "compile", "compile-bf16", "onnxruntime", "onnxruntime-int8", "openvino")
COLOURS = ("#7f7f7f", "#c0392b", "#8e44ad", "#27823b", "#d68910", "#16808a")
BLUE = "#2c5f9e"


@dataclass(frozen=True)
class Arguments:
    redraw: bool = False
    """Draw from the JSON file that an earlier run wrote."""
    out: Path = FIGURES / "engine_crossover.svg"
    """The figure; figures are written beside it as .json."""
    network: str = "sdt_2_512_cifar"
    """Registered name for the right half."""
    img_size: int | None = None
    """Side of the network's input. Default: what the variant was made for."""
    rates: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
    """Firing rates."""
    rounds: int = 30
    """Timed runs at each rate."""
    threads: int = 2
    """Of the engine and of dense arithmetic."""


class Layers(SpikeDrivenModel):
    """Frames [B, T, 3, 14, 14] -> 512 spiking channels -> (where ``whole``: 2048) -> means of a few
    channels [B, 16].

    The program with the layer in the middle, less the one without it, is the layer. Its neurons
    stay silent, so that what follows has nothing to do.
    """

    def __init__(self, whole: bool) -> None:
        super().__init__(0, 3, SIDE, STEPS, "mean", "events")
        torch.manual_seed(0)
        self.before = ProjectFire(ConvBN(3, INPUTS), LIF())
        self.layer = ProjectFire(ConvBN(INPUTS, OUTPUTS), LIF()) if whole else nn.Identity()
        self.last = ConvBN(OUTPUTS if whole else INPUTS, 16)
        if whole:
            nn.init.constant_(self.layer.project.bn.bias, -100.0)

    def body(self) -> list[tuple[str, nn.Module]]:
        return [("before", self.before), ("layer", self.layer), ("last", self.last)]

    def head_forward(self, pooled: Tensor, pre_logits: bool = False) -> Tensor:
        return pooled


class Call:
    """A function that `alternate` can ask in this process; one call that is not timed goes
    before each timed one.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def ask(self, _round: int | None) -> float:
        self.function()
        start = time.perf_counter()
        self.function()
        return time.perf_counter() - start


def dense_products(spikes: Tensor, weight: Tensor) -> dict[str, Call]:
    """spikes [tokens, in], weight [out, in] -> the product in each precision that torch has on
    this machine.
    """
    coarse = (weight * (127 / weight.abs().max())).to(torch.int8).t()
    s16, w16, s8 = spikes.bfloat16(), weight.bfloat16(), spikes.to(torch.int8)
    calls = {
        "fp32": Call(lambda: nn.functional.linear(spikes, weight)),
        "bf16": Call(lambda: nn.functional.linear(s16, w16)),
    }
    try:
        torch._int_mm(s8, coarse)
    except (RuntimeError, NotImplementedError):
        return calls  # torch has no int8 product for this processor
    return {**calls, "int8": Call(lambda: torch._int_mm(s8, coarse))}


def measure_layer(arguments: Arguments) -> dict[str, Any]:
    """{"engine": ms per rate, "dense": {precision: ms}}."""
    torch.set_num_threads(arguments.threads)
    x = torch.randn(1, STEPS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        engine = [_layer_time(x, rate, arguments) for rate in track(arguments.rates, "one layer")]
        model = Layers(whole=True).eval()
        _set_rate(model, x, USUAL_RATE)
        spikes = model.before(x.transpose(0, 1)).flatten(3).permute(0, 1, 3, 2).reshape(-1, INPUTS)
        times, _ = alternate(
            dense_products(spikes, model.layer.project.conv.weight.flatten(1)), arguments.rounds
        )
    return {
        "engine": engine,
        "dense": {name: 1e3 * float(np.median(found)) for name, found in times.items()},
    }


def _layer_time(x: Tensor, rate: float, arguments: Arguments) -> float:
    """Milliseconds, the median of the differences within rounds."""
    calls = {}
    for name, whole in {"with": True, "without": False}.items():
        model = Layers(whole).eval()
        _set_rate(model, x, rate)
        program = sd.compile(model, x)
        if not program.is_native:
            raise SystemExit(
                "this installation has no compiled engine, and the time of its twin says nothing"
            )
        program.threads = arguments.threads
        calls[name] = Call(partial(program, x))
    times, _ = alternate(calls, arguments.rounds)
    return 1e3 * float(np.median(np.subtract(times["with"], times["without"])))


def _set_rate(model: Layers, x: Tensor, rate: float) -> None:
    """Move the bias in front of the first neurons."""
    current = model.before.project(x.transpose(0, 1))
    model.before.project.bn.bias.add_(shift_for(model.before.neuron, current, rate))


def measure_network(arguments: Arguments) -> dict[str, Any]:
    """The same for a whole network; "density": what was fired at each rate."""
    found: dict[str, Any] = {"engine": [], "density": []}
    for rate in track(arguments.rates, arguments.network):
        (engine,), density = _bench(arguments, rate, ("engine",))
        found["engine"].append(engine["milliseconds"]["median"])
        found["density"].append(density)
    rows, _ = _bench(arguments, USUAL_RATE, DENSE)
    found["dense"] = {
        row["name"]: row["milliseconds"]["median"] for row in rows if row["milliseconds"]
    }
    found["left_out"] = {row["name"]: row["reason"] for row in rows if not row["milliseconds"]}
    return found


def _bench(arguments: Arguments, rate: float, names: Sequence[str]) -> tuple[list[dict], dict]:
    target = Target(arguments.network, img_size=arguments.img_size)
    with tempfile.TemporaryDirectory() as folder:
        subject = make_subject(Path(folder) / "subject", target, inputs=4, rate=rate)
        rows = measure(subject, choose(CONTESTANTS, names), arguments.threads, 1, arguments.rounds)
    for row in rows:
        if row.name == "engine" and row.reason:
            raise SystemExit(f"the engine could not be measured at a rate of {rate}: {row.reason}")
    return [row.to_dict() for row in rows], subject.to_dict()["density"]


def crossover(rates: Sequence[float], times: Sequence[float], dense: float) -> float | None:
    """The rate at which times, linear between those measured, first exceed the dense one; None:
    nowhere in between.
    """
    for i in range(1, len(rates)):
        if times[i - 1] <= dense < times[i]:
            return rates[i - 1] + (dense - times[i - 1]) / (times[i] - times[i - 1]) * (
                rates[i] - rates[i - 1]
            )
    return None


def draw_half(axes: Axes, rates: Sequence[float], half: Mapping[str, Any], title: str) -> None:
    """The engine's line, a dense line each with its time, and a mark where they cross."""
    percent = [100 * rate for rate in rates]
    axes.plot(
        percent, half["engine"], color=BLUE, marker="o", ms=4, lw=1.8, label="engine", zorder=3
    )
    for colour, (name, ms) in zip(COLOURS, half["dense"].items(), strict=False):
        at = crossover(percent, half["engine"], ms)
        where = "" if at is None else f", crossed at {at:.0f} %"
        axes.axhline(ms, color=colour, lw=1, ls="--", label=f"{name}: {ms:.3g} ms{where}")
        if at is not None:
            axes.plot(at, ms, marker="D", color=colour, ms=6, zorder=4)
    top = max([*half["engine"], *half["dense"].values()])
    axes.set(xlabel="neurons that fire, %", ylabel="ms", title=title, yscale="log")
    axes.set_ylim(top=top * 1.4)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.grid(axis="y", which="major", color="#e4e4e4", lw=0.6)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The figure of a measurement, as `main` writes it into the JSON file."""
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "engine_crossover", "axes.titlesize": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    draw_half(
        left, found["rates"], found["layer"], f"One layer, 784 x {INPUTS} -> {OUTPUTS}, {threads}"
    )
    draw_half(right, found["rates"], found["network"], f"{found['name']}, one image, {threads}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def measured(arguments: Arguments) -> dict[str, Any]:
    """Everything the figure says, and what it was measured on."""
    found = {
        "name": arguments.network, "rates": list(arguments.rates), "rounds": arguments.rounds,
        "threads": arguments.threads, "machine": machine(),
        "layer": measure_layer(arguments), "network": measure_network(arguments),
    }  # fmt: skip
    found["machine"]["load_at_end"] = load()
    return found


def main(argv: Sequence[str] | None = None) -> None:
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    data = arguments.out.with_suffix(".json")
    if not arguments.redraw:
        write_whole(data, json.dumps(measured(arguments), indent=1).encode())
    draw(json.loads(data.read_text()), arguments.out)


if __name__ == "__main__":
    main()
