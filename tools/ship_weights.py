"""Put the weights of a finished run into the package, with a card, the run's log and a figure of
how it learnt.

    python tools/ship_weights.py runs/e_spikeformer_fashion [runs/e_spikeformer_fashion_1x4 ...]

Writes NAME.safetensors and NAME.md in src/spikedriven/models/weights, docs/runs/NAME.jsonl and
docs/figures/NAME.svg, where NAME is the network of the run. Further runs, the earliest last, are
those that it started from: log, figure and card tell of all. The test images are evaluated here,
once; nothing is chosen by them.
"""

import json
import sys
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import safetensors.torch

from spikedriven import firing_rates
from spikedriven.bench.machine import machine
from spikedriven.cli.eval import Arguments, evaluate
from spikedriven.data import build_eval_loader
from spikedriven.files import write_whole
from spikedriven.models import pretrained, variant_of
from spikedriven.models.names import class_names
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import load_run, read_run
from spikedriven.runs.distributed import open_world

DOCS = Path(__file__).parents[1] / "docs"
SLOWEST_STEP = 2.0  # seconds; what a step took longer in the log is a pause between two sittings
CARD = """# {name}

{family} of {parameters:,} parameters, trained by this project from random weights. Apache-2.0, as the package.

- **Accuracy**: {test:.2f} % top-1 on the {tests:,} test images of {dataset}, looked at once, after the last step;
  {val_accuracy:.2f} % on {val:,} train images that were held out. `spikedriven eval {name} --data {dataset}`
  repeats the first.
- **Training**: {commands}, seed {seed}:
  {epochs} epochs, {steps:,} steps of {batch} images, {amp} autocast;
  {processor}, {cores} cores, torch {torch}; {hours:.1f} hours of computing, begun or resumed {starts} times,
  on one or two threads. One seed.
- **Weights**: their average over steps (`run.ema`) at the last step. No step was chosen.
- **Classes**, in the order of the outputs: {classes}.
- **Input**: 28x28 grey, less {mean}, divided by {std}.
- **Firing**: a neuron puts out {rate:.3f} of its largest output in the mean ({rated} test images).
- **Use**: `spikedriven.create_model("{name}", pretrained=True)`. For demonstrations, and for measuring rates, energy
  and speed on a network that is trained; pictures of garments are all it knows.

Log: docs/runs/{name}.jsonl; figure: docs/figures/{name}.svg. Written {today} by tools/ship_weights.py.
"""  # noqa: E501


def lines_of(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """The lines of the runs' logs as of one long run. runs: the earliest first."""
    lines: list[dict[str, Any]] = []
    done = 0
    for run in runs:
        found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        lines += [line | {"step": line["step"] + done} for line in found]
        done = lines[-1]["step"]
    return lines


def seconds_of_training(lines: list[dict[str, Any]]) -> float:
    """From the times in the log, without pauses."""
    found = [(line["step"], line["time"]) for line in lines if line["kind"] == "train"]
    gaps = [(late - early, after - before) for (early, before), (late, after) in pairwise(found)]
    return sum(min(seconds, SLOWEST_STEP * max(steps, 0)) for steps, seconds in gaps)


def accuracy(run: Path, split: str) -> dict[str, Any]:
    with open_world("cpu") as world:
        return evaluate(
            Arguments(str(run), split=split, workers=0, amp="none", device="cpu"), world
        ).record


def mean_rate(run: Path) -> tuple[float, int]:
    """(mean over neurons of output / largest output, images)."""
    model, recipe = load_run(run)
    images, _ = next(iter(build_eval_loader(recipe.data, "test", batch_size=500)))
    rates = firing_rates(model, images)
    units = [
        getattr(m, "norm", 1) / getattr(m, "levels", 1) for m in map(model.get_submodule, rates)
    ]
    return sum(rate * unit for rate, unit in zip(rates.values(), units, strict=True)) / len(
        rates
    ), len(images)


def card(runs: Sequence[Path], recipe: Recipe, test: dict[str, Any], val: dict[str, Any]) -> str:
    lines, found, variant = lines_of(runs), machine(), variant_of(recipe.model.name)
    model, _ = load_run(runs[-1])
    rate, rated = mean_rate(runs[-1])
    epochs = [read_run(run)[0].schedule.epochs for run in runs]
    return CARD.format(
        name=recipe.model.name,
        family=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        dataset=recipe.data.dataset,
        val=val["count"],
        mean=_numbers(variant.mean),
        std=_numbers(variant.std),
        seed=recipe.run.seed,
        epochs=" + ".join(map(str, epochs)),
        steps=lines[-1]["step"],
        batch=recipe.run.batch_size,
        amp=recipe.run.amp,
        processor=found["processor"],
        cores=found["cores"],
        torch=found["torch"],
        hours=seconds_of_training(lines) / 3600,
        starts=sum(line["kind"] == "start" for line in lines),
        commands=", then ".join(f"`spikedriven train {run.name}`" for run in runs),
        classes=", ".join(class_names(model)),
        test=test["top1"],
        tests=test["count"],
        val_accuracy=val["top1"],
        rate=rate,
        rated=rated,
        today=date.today().isoformat(),
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def draw(runs: Sequence[Path], name: str, path: Path) -> None:
    """Loss of the training steps, and accuracy on the held-out images."""
    lines = lines_of(runs)
    losses = [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]
    tops = [(line["step"], line["top1"]) for line in lines if line["kind"] == "eval"]
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": name, "axes.titlesize": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(*zip(*losses, strict=True), color="#7f7f7f", lw=1)
    left.set(title="training loss, mean of 50 steps", xlabel="step", yscale="log")
    right.plot(*zip(*tops, strict=True), color="#2c5f9e", marker="o", ms=3.5)
    right.set(title="top-1 on the held-out images, averaged weights", xlabel="step", ylabel="%")
    right.annotate(f"{tops[-1][1]:.2f} %", tops[-1], textcoords="offset points", xytext=(-34, -16))
    for axes in (left, right):
        axes.grid(color="#e4e4e4", lw=0.6)
    figure.suptitle(name)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    run, *before = map(Path, sys.argv[1:])
    runs = [*reversed(before), run]
    recipe, weights, _ = read_run(run)
    name = recipe.model.name
    test, val = accuracy(run, "test"), accuracy(run, "val")
    pretrained.FOLDER.mkdir(exist_ok=True)
    about = {
        "licence": "Apache-2.0",
        "source": "spikedriven",
        "recipe": name,
        "top1": f"{test['top1']:.2f}",
    }
    whole = {
        key: value.float() if value.is_floating_point() else value for key, value in weights.items()
    }
    write_whole(pretrained.FOLDER / f"{name}.safetensors", safetensors.torch.save(whole, about))
    names = "\n".join(class_names(load_run(runs[-1])[0]))
    write_whole(pretrained.FOLDER / f"{name}.classes.txt", f"{names}\n".encode())
    write_whole(pretrained.FOLDER / f"{name}.md", card(runs, recipe, test, val).encode())
    (DOCS / "runs").mkdir(exist_ok=True)
    log = b"".join((run / "log.jsonl").read_bytes() for run in runs)
    write_whole(DOCS / "runs" / f"{name}.jsonl", log)
    draw(runs, name, DOCS / "figures" / f"{name}.svg")
    sys.stdout.write(card(runs, recipe, test, val))


if __name__ == "__main__":
    main()
