"""The README's figure: how the quickstart network learns, and what fires in it.

python tools/readme_figure.py runs/quickstart [docs/figures/quickstart.png]
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import nn

from spikedriven.data import build_eval_loader
from spikedriven.neurons import Neuron
from spikedriven.training.checkpoint import load_run


def rates_per_step(model: nn.Module, images: torch.Tensor) -> dict[str, list[float]]:
    """Neuron name -> mean output per time step."""
    rates: dict[str, list[float]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(
                lambda _m, _i, out, name=name: rates.__setitem__(
                    name, out.flatten(1).mean(1).tolist()
                )
            )
    with torch.no_grad():
        model(images)
    return rates


def main() -> None:
    run, out = (
        Path(sys.argv[1]),
        Path(sys.argv[2] if len(sys.argv) > 2 else "docs/figures/quickstart.png"),
    )
    model, recipe = load_run(run)
    images, _ = next(iter(build_eval_loader(recipe.data, "test", batch_size=500)))
    rates = rates_per_step(model, images)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    accuracy = [(line["epoch"], line["top1"]) for line in lines if line["kind"] == "eval"]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 4.2), gridspec_kw={"width_ratios": [1, 1.5]}, dpi=110
    )
    left.plot(*zip(*accuracy, strict=True), marker="o", color="#0b6e99")
    left.set(title="Test accuracy on 2,000 images", xlabel="epoch", ylabel="top-1 (%)")
    left.annotate(
        f"{accuracy[-1][1]:.1f} %", accuracy[-1], textcoords="offset points", xytext=(-30, -18)
    )
    left.xaxis.get_major_locator().set_params(integer=True)
    left.grid(alpha=0.3)
    drawn = right.imshow(
        [[100 * r for r in row] for row in rates.values()], aspect="auto", cmap="viridis", vmin=0
    )
    right.set(title="Neurons that fire (%)", xlabel="time step", xticks=range(model.time_steps),
              xticklabels=range(1, model.time_steps + 1), yticks=range(len(rates)))  # fmt: skip
    right.set_yticklabels(list(rates), fontsize=7)
    figure.colorbar(drawn, ax=right)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


if __name__ == "__main__":
    main()
