"""Draw docs/figures/t_by_d.svg: counts, the binary steps they become, and a network that computes
the same with both.

python tools/draw_t_by_d.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.neurons import LIF, IntegerNeuron
from spikedriven.neurons.expanded import ExpandedNeuron

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "t_by_d.svg"
LEVELS = STEPS = 4
INPUTS = (0.3, 0.9, 1.6, 2.4, 3.2, 5.0)
BLUE, RED, GREY = "#2c5f9e", "#c0392b", "#7f7f7f"


def counts(x: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [N] -> how often an integer neuron (D 4) and a LIF neuron (T 4, the same input at
    each step) fire, [N].
    """
    return IntegerNeuron(LEVELS, norm=1)(x), LIF()(x.expand(STEPS, -1)).sum(0)


def network(seed: int = 0) -> nn.Module:
    """A small E-SpikeFormer in float64, its weights drawn wide so that all its neurons fire."""
    torch.manual_seed(seed)
    model = sd.create_model(
        "e_spikeformer_3m", num_classes=10, in_chans=1, img_size=16, embed_dims=(8, 16, 16, 16),
        depths=(1, 1, 1, 1, 1), strides=(2, 2, 1, 1, 1), num_heads=2,
    ).double()  # fmt: skip
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim > 1):
            weight.normal_(0.0, 2.0 * (2.0 / weight[0].numel()) ** 0.5)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.bias.normal_(0.0, 0.5)
    return model.eval()


def both_outputs(images: int = 8) -> tuple[Tensor, Tensor]:
    """Logits [images, 10] of the integer network, and of its expansion into binary steps."""
    model = network()
    batch = 1.5 * torch.randn(images, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        return model(batch), sd.expand(model, batch)(batch)


def draw_counts(axes: Axes) -> None:
    x = torch.linspace(-1, 6, 1401, dtype=torch.float64)
    integer, lif = counts(x)
    axes.plot(x, x.clamp(0, LEVELS), color=GREY, lw=0.8, ls=":", label="clamp(x, 0, 4)")
    axes.step(x, integer, color=BLUE, where="mid", label="integer neuron, D = 4")
    axes.step(x, lif, color=RED, where="mid", ls="--", label="LIF, T = 4, constant input")
    axes.set(
        xlabel="input x",
        ylabel="spikes in four binary steps",
        title="a  What four binary steps can say",
    )
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.set_ylim(-0.3, 5.9)


def draw_steps(axes: Axes) -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    steps = ExpandedNeuron(LEVELS)(x.unsqueeze(0))  # [D, N]
    integer, _ = counts(x)
    for row, count in enumerate(integer.int().tolist()):
        for d in range(LEVELS):
            fires = bool(steps[d, row])
            axes.scatter(
                d + 1, row, s=130, color=BLUE if fires else "white", edgecolors=GREY, linewidths=0.8
            )
        axes.text(4.7, row, f"n = {count}", va="center", fontsize=8)
    axes.set(
        xlim=(0.4, 5.6),
        xticks=range(1, 5),
        xlabel="binary step d: fires where n >= d",
        ylabel="input x",
    )
    axes.set_yticks(range(len(INPUTS)), [f"{value:g}" for value in INPUTS])
    axes.set_title("b  A count as D binary steps")


def draw_equality(axes: Axes) -> None:
    integer, spiking = both_outputs()
    difference = (integer - spiking).abs().max().item()
    low, high = integer.min().item(), integer.max().item()
    axes.plot([low, high], [low, high], color=GREY, lw=0.8)
    axes.scatter(integer.flatten(), spiking.flatten(), s=9, color=BLUE)
    axes.set(xlabel="logit, integers (1 step)", ylabel="logit, binary spikes (4 steps)")
    axes.set_title("c  A whole network, both ways")
    axes.text(
        0.05,
        0.95,
        f"80 logits, float64\nlargest difference {difference:.0e}",
        transform=axes.transAxes,
        va="top",
        fontsize=8,
    )


def main() -> None:
    plt.rcParams.update(
        {
            "font.size": 9,
            "svg.hashsalt": "t_by_d",
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
        }
    )
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for draw, axes in zip((draw_counts, draw_steps, draw_equality), panels, strict=True):
        draw(axes)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
