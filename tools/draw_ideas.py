"""Draw the figures of the pages "Ideas" (docs/figures/ideas_*.svg) from the network that ships.

python tools/draw_ideas.py
"""

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.data import build_eval_loader, config_for
from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import Measurement, measure
from spikedriven.graph.partners import at_rate
from spikedriven.neurons import Neuron, fire
from spikedriven.neurons.surrogate import SURROGATES
from spikedriven.report import firing_maps

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
BLUE, RED, GREY, GREEN = "#2c5f9e", "#c0392b", "#7f7f7f", "#2e7d4f"
IMAGE = 0  # of fashion-mini's test part: a pullover
STEPS = 8
CURRENTS = (0.8, 1.2, 2.5)
INPUTS, OUTPUTS = 16, 10
#: Conventions of the last figure: name, prices, what stands in the legend.
RULES = (
    ("sdt", "fp32", "arithmetic only, fp32 prices"),
    ("sdt", "int8", "arithmetic only, int8 prices"),
    ("bit-matched", "int8", "memory too, membranes moved once a step"),
    ("lemaire-packed", "int8", "memory too, membranes moved at each spike"),
)


def network() -> nn.Module:
    """The network that ships, folded, so that weight layers are what a device would hold."""
    return sd.fuse(sd.create_model("e_spikeformer_fashion", pretrained=True).eval())


def test_images() -> Tensor:
    """The first 200 of fashion-mini's test part, [200, 1, 28, 28], normalised."""
    return next(iter(build_eval_loader(config_for("fashion-mini", img_size=28), batch_size=200)))[0]


def first_neuron(model: nn.Module) -> Neuron:
    return next(module for module in model.modules() if isinstance(module, Neuron))


def currents(model: nn.Module, image: Tensor) -> Tensor:
    """What the first neurons read: [C, H, W]."""
    seen: list[Tensor] = []
    hook = first_neuron(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(image)
    hook.remove()
    return seen[0][0, 0]


def places(field: Tensor) -> list[tuple[int, int]]:
    """Rows and columns of a map [H, W] where it is nearest to each of `CURRENTS`."""
    width = field.shape[1]
    return [divmod(int((field - wanted).abs().argmin()), width) for wanted in CURRENTS]


def membrane(current: float) -> tuple[list[float], list[bool]]:
    """A LIF neuron driven by the same current at every step: charge before firing, and spikes."""
    h, v, fired = [], 0.0, []
    for _ in range(STEPS):
        h.append(v + (current - v) / 2.0)
        fired.append(h[-1] >= 1.0)
        v = 0.0 if fired[-1] else h[-1]
    return h, fired


def draw_membrane(model: nn.Module, image: Tensor) -> Figure:
    maps = currents(model, image)
    channel = int(maps.flatten(1).std(1).argmax())
    field = maps[channel]
    figure = plt.figure(figsize=(10, 3.6), layout="constrained")
    picture, *axes = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.1, 1, 1, 1]})
    picture.imshow(image[0, 0], cmap="gray")
    picture.set(xticks=[], yticks=[], title="the image")
    scale = image.shape[-1] / field.shape[1]
    for letter, (row, column), axis in zip("abc", places(field), axes, strict=True):
        picture.text(
            (column + 0.5) * scale,
            (row + 0.5) * scale,
            letter,
            color="white",
            weight="bold",
            ha="center",
            va="center",
            bbox={"facecolor": RED, "edgecolor": "none", "pad": 1.5},
        )
        current = float(field[row, column])
        charges, fired = membrane(current)
        steps = range(1, STEPS + 1)
        axis.plot(steps, charges, color=BLUE, marker="o", ms=4)
        axis.axhline(1.0, color=GREY, ls="--", lw=1)
        axis.vlines(
            [t for t, s in zip(steps, fired, strict=True) if s], -0.45, -0.15, color=RED, lw=3
        )
        axis.set(
            title=f"{letter}: current {current:.2f}, {sum(fired)} of {STEPS} spikes",
            xlabel="time step",
            ylim=(-0.5, 1.6),
            xticks=steps,
        )
    axes[0].set_ylabel("membrane (blue), spikes (red)")
    return figure


def reading_layer(model: nn.Module, image: Tensor) -> tuple[str, Tensor, Tensor]:
    """A 1x1 convolution that reads spikes: its name, weights [out, in], and its input [in, H,
    W].
    """
    found: dict[str, Tensor] = {}
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    }
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: found.__setitem__(name, inputs[0])
        )
        for name, module in layers.items()
    ]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    name = next(iter(found))
    return name, layers[name].weight.detach().flatten(1), found[name][0]


def draw_addition(model: nn.Module, image: Tensor) -> Figure:
    name, weight, values = reading_layer(model, image)
    fired = (values > 0).float()
    spread = fired[:INPUTS].sum(0)
    row, column = divmod(int((spread - INPUTS / 4).abs().argmin()), spread.shape[1])
    spikes = fired[:INPUTS, row, column]
    rows = weight[:OUTPUTS, :INPUTS].T
    total = (spikes[:, None] * rows).sum(0)
    limit = float(rows.abs().max())
    figure = plt.figure(figsize=(9, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [0.35, 3, 2]})
    left.imshow(spikes[:, None], cmap="Reds", vmin=0, vmax=1.2, aspect="auto")
    left.set(xticks=[], ylabel="input channel", title="spikes", yticks=range(INPUTS))
    middle.imshow(rows, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for i in range(INPUTS):
        if not spikes[i]:
            middle.axhspan(i - 0.5, i + 0.5, color="white", alpha=0.88)
    middle.set(
        yticks=[],
        xticks=range(OUTPUTS),
        xlabel="output channel",
        title=f"the {int(spikes.sum())} rows that are added in the first binary step",
    )
    right.bar(range(OUTPUTS), total, color=[RED if x > 0 else BLUE for x in total])
    right.axhline(0, color=GREY, lw=0.8)
    right.set(title="their sum", xlabel="output channel", xticks=range(OUTPUTS))
    figure.suptitle(f"{name}, row {row}, column {column} of the map", fontsize=8, color=GREY)
    return figure


def draw_attention(model: nn.Module, image: Tensor) -> Figure:
    maps = firing_maps(model, image)
    figure = plt.figure(figsize=(10, 2.4), layout="constrained")
    first, *axes = figure.subplots(1, 1 + len(maps))
    figure.suptitle(
        "two blocks: value neurons, and neurons behind the product, of each", fontsize=8, color=GREY
    )
    first.imshow(image[0, 0], cmap="gray")
    first.set(xticks=[], yticks=[], title="the image")
    for axis, one in zip(axes, maps, strict=True):
        drawn = axis.imshow(one.rates[0], cmap="magma", vmin=0)
        axis.set(xticks=[], yticks=[], title=one.place)
        figure.colorbar(drawn, ax=axis, shrink=0.75)
    return figure


def draw_surrogates() -> Figure:
    figure = plt.figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    u = torch.linspace(-2, 2, 801, dtype=torch.float64)
    left.step(u, fire(u, "sigmoid"), color=GREY, where="post")
    left.set(
        title="forward: the exact step",
        xlabel="membrane - threshold",
        ylabel="spike",
        yticks=[0, 1],
    )
    for (name, surrogate), colour in zip(
        SURROGATES.items(), (BLUE, RED, GREEN, GREY), strict=False
    ):
        given = u.clone().requires_grad_()
        fire(given, name).sum().backward()
        right.plot(u, given.grad, color=colour, label=f"{name}, alpha {surrogate.alpha:g}")
    right.set(title="backward: the slope instead of its derivative", xlabel="membrane - threshold")
    right.legend(frameon=False, fontsize=8)
    return figure


def at_factor(measurement: Measurement, factor: float) -> Measurement:
    """The same network with all firing rates times a factor."""
    return replace(
        measurement, layers=tuple(at_rate(layer, factor) for layer in measurement.layers)
    )


def draw_energy(model: nn.Module, images: Tensor) -> Figure:
    measurement = measure(model, images)
    mean = cost(measurement).comparison.mean_rate
    rates = torch.linspace(0.0, 0.4, 41).tolist()
    figure = plt.figure(figsize=(9.5, 6.2), layout="constrained")
    for axis, (rule, prices, title) in zip(figure.subplots(2, 2).flat, RULES, strict=True):
        reports = [cost(at_factor(measurement, rate / mean), rule, prices) for rate in rates]
        partner = reports[0].comparison.partner(prices)
        axis.plot(
            [100 * r for r in rates],
            [1000 * r.total_mj for r in reports],
            color=BLUE,
            label="spiking network",
        )
        axis.axhline(
            1000 * partner.ann_mj, color=RED, ls="--", label="ordinary network of the same shape"
        )
        axis.axvline(100 * mean, color=GREY, lw=0.8, ls=":")
        axis.set(
            title=f"{title} ({rule})",
            xlabel="mean firing rate per binary step (%)",
            ylabel="µJ per image",
        )
        axis.set_ylim(bottom=0)
        axis.text(100 * mean, 0.03 * axis.get_ylim()[1], " as trained", color=GREY, fontsize=8)
    figure.legend(
        *axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def keep(figure: Figure, name: str) -> None:
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / f"ideas_{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "ideas", "axes.titlesize": 9})
    model, images = network(), test_images()
    image = images[IMAGE : IMAGE + 1]
    keep(draw_membrane(model, image), "membrane")
    keep(draw_addition(model, image), "addition")
    keep(draw_attention(model, image), "attention")
    keep(draw_surrogates(), "surrogates")
    keep(draw_energy(model, images), "energy")


if __name__ == "__main__":
    main()
