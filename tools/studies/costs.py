"""What a training step costs: time, measured in alternation in one process; memory, in a fresh
process each; and how much the trained networks fire.

    python tools/studies/costs.py --memory study_lif_t4       (what the script calls for each
    recipe)
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import spikedriven as sd
from spikedriven.data import build_eval_loader
from spikedriven.neurons import IntegerNeuron
from spikedriven.recipes import load_recipe
from spikedriven.runs.checkpoint import load_run
from spikedriven.tasks import create_task
from spikedriven.training.optim import create_optimizer

WARM_UP, ROUNDS, MEMORY_STEPS = 3, 20, 3
FIRING_IMAGES, FIRING_BATCH = 500, 100


def make_step(recipe_name: str, teacher: Path | None = None) -> Callable[[], None]:
    """A function that takes one training step of a recipe (forward, backward, update), always on
    the same batch.

    teacher: run folder, for a recipe that distils.
    """
    recipe = load_recipe(recipe_name)
    recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, init=None))
    if recipe.distill.teacher is not None:
        recipe = dataclasses.replace(
            recipe, distill=dataclasses.replace(recipe.distill, teacher=str(teacher))
        )
    task = create_task(recipe)
    loader = task.train_loader(0, 1)
    torch.manual_seed(0)
    model = task.build_model().train()
    optimizer = create_optimizer(model, recipe.optim, recipe.run.batch_size)
    batch = next(loader.epoch(0))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task.loss(model, batch).backward()
        optimizer.step()

    return step


def step_times(recipes: list[str], teacher: Path | None = None) -> dict[str, dict[str, float]]:
    """Milliseconds per step: median and quartiles over rounds in which each recipe takes one
    step.
    """
    steps = {name: make_step(name, teacher) for name in recipes}
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(WARM_UP + ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {
        name: _quartiles([1000 * value for value in values[WARM_UP:]])
        for name, values in seconds.items()
    }


def _quartiles(values: list[float]) -> dict[str, float]:
    lower, median, upper = statistics.quantiles(values, n=4)
    return {"median": median, "lower": lower, "upper": upper}


def peak_memory(recipe: str) -> float:
    """MiB that training steps add to the resident memory of a fresh process that holds model,
    optimiser and data.
    """
    words = [sys.executable, __file__, "--memory", recipe]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _memory_of_steps(recipe: str) -> float:
    step = make_step(recipe)
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # Linux: the peak starts over, from what is resident now
    before = _peak_mib()
    for _ in range(MEMORY_STEPS):
        step()
    return _peak_mib() - before


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def firing(run: Path) -> dict[str, float]:
    """Of a trained network on test images, mean over its neuron layers.

    spikes: per neuron and image, over all T x D steps. rate: the same per step.
    """
    model, recipe = load_run(run)
    loader = build_eval_loader(recipe.data, "test", batch_size=FIRING_BATCH)
    batches = [
        images
        for images, _ in zip(
            (x for x, _ in loader), range(FIRING_IMAGES // FIRING_BATCH), strict=False
        )
    ]
    spikes, steps = [], []
    time_steps: Any = model.time_steps
    for name, mean in sd.firing_rates(model, batches).items():
        neuron = model.get_submodule(name)
        per_step = mean * neuron.norm if isinstance(neuron, IntegerNeuron) else mean
        spikes.append(per_step * time_steps)
        steps.append(time_steps * (neuron.levels if isinstance(neuron, IntegerNeuron) else 1))
    rates = [a / b for a, b in zip(spikes, steps, strict=True)]
    return {"spikes": statistics.fmean(spikes), "rate": statistics.fmean(rates)}


def costs(timed: list[str], weighed: list[str], teacher: Path | None) -> dict[str, dict[str, Any]]:
    """step_ms of each recipe in `timed`, and peak_mib of those in `weighed`."""
    found: dict[str, dict[str, Any]] = {
        name: {"step_ms": ms} for name, ms in step_times(timed, teacher).items()
    }
    for name in weighed:
        found[name]["peak_mib"] = peak_memory(name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--memory", required=True, metavar="RECIPE")
    print(json.dumps(_memory_of_steps(parser.parse_args().memory)))
