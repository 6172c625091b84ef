"""Draw docs/figures/readme.png: one test image through the network that ships.

    python tools/readme_figure.py [FILE]

Everything in it is measured while it is drawn: spikes, prediction and energy of this image, and the
processor time that the program and PyTorch take for it (median of 200 runs in turns, one thread).
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.data import build_eval_loader, config_for
from spikedriven.engine import Program
from spikedriven.neurons import Neuron

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "readme.png"
NAME = "e_spikeformer_fashion"
IMAGE = 0  # of fashion-mini's test part
RUNS = 200
BLUE, RED, GREY = "#2c5f9e", "#c0392b", "#8a8a8a"


def spike_maps(model: nn.Module, image: Tensor) -> list[tuple[str, Tensor]]:
    """A layer of neurons of each size of map: share of channels that fire at each place and binary
    step, [H, W]."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.__setitem__(name, out[0, 0])
        )
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    ]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    sizes: dict[int, tuple[str, Tensor]] = {}
    for name, out in seen.items():
        if out.ndim == 3:
            sizes.setdefault(out.shape[-1], (name, out.mean(0)))
    return list(sizes.values())


def both_times(model: nn.Module, program: Program, image: Tensor) -> dict[str, float]:
    """Milliseconds of processor time for one image: medians of runs in turns."""
    contestants: dict[str, Callable[[], object]] = {
        "program, 8-bit weights": lambda: program(image),
        "PyTorch, fp32": lambda: model(image),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.inference_mode():
        for _ in range(RUNS):
            for name, run in contestants.items():
                start = time.process_time()
                run()
                times[name].append(time.process_time() - start)
    return {name: 1000 * statistics.median(found[RUNS // 10 :]) for name, found in times.items()}


def both_energies(model: nn.Module, image: Tensor) -> dict[str, float]:
    """Microjoule of this image, convention `sdt`, fp32 prices."""
    report = sd.energy(model, image)
    return {
        "this network": 1000 * report.total_mj,
        "same shape,\nno spikes": 1000 * report.comparison.ann_mj,
    }


def draw_spikes(figure: SubFigure, image: Tensor, maps: list[tuple[str, Tensor]]) -> None:
    first, *axes = figure.subplots(1, 1 + len(maps))
    first.imshow(image[0, 0], cmap="gray")
    first.set(title="one image", xticks=[], yticks=[])
    for number, (panel, (_, rates)) in enumerate(zip(axes, maps, strict=True), 1):
        drawn = panel.imshow(100 * rates, cmap="magma", vmin=0)
        size = " x ".join(map(str, rates.shape))
        panel.set(
            title=f"spikes, stage {number} ({size}): {100 * float(rates.mean()):.0f} %",
            xticks=[],
            yticks=[],
        )
        figure.colorbar(drawn, ax=panel, shrink=0.8, format="%d %%")


def draw_bars(axes: Axes, values: dict[str, float], unit: str, title: str) -> None:
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names], color=[GREY, BLUE], height=0.55)
    for row, name in enumerate(names):
        axes.text(values[name], row, f" {values[name]:.3g} {unit}", va="center", fontsize=9)
    axes.set(title=title, xticks=[], xlim=(0, 1.45 * max(values.values())))
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def draw_classes(axes: Axes, shares: Tensor, classes: tuple[str, ...]) -> None:
    best = shares.argsort(descending=True)[:4].flip(0).tolist()
    axes.barh(
        [classes[i] for i in best],
        [float(shares[i]) for i in best],
        color=[GREY] * 3 + [RED],
        height=0.6,
    )
    axes.set(
        title=f"prediction: {classes[best[-1]]}, {100 * float(shares.max()):.0f} %",
        xticks=[],
        xlim=(0, 1),
    )
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE
    torch.set_num_threads(1)
    model = sd.create_model(NAME, pretrained=True).eval()
    loader = build_eval_loader(config_for("fashion-mini", img_size=28), batch_size=IMAGE + 1)
    image = next(iter(loader))[0][IMAGE:]
    program = sd.compile(model, image)
    program.threads = 1
    with torch.no_grad():
        shares = model(image)[0].softmax(0)

    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10})
    figure = plt.figure(figsize=(11, 4.6), dpi=130, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    draw_spikes(above, image, spike_maps(model, image)[:3])
    left, middle, right = below.subplots(1, 3)
    draw_classes(left, shares, loader.dataset.classes)
    draw_bars(middle, both_energies(model, image), "µJ", "energy of this image (sdt, 45 nm, fp32)")
    draw_bars(right, both_times(model, program, image), "ms", "processor time, one thread")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


if __name__ == "__main__":
    main()
