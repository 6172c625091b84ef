"""Autocast by the names that recipes use, and which of them is worth it on this machine."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.runs.distributed import World, first_of_all

Amp = Literal["none", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Shares of the float32 time: up to the first, `auto` takes a type; from the second, it costs time.
FASTER, SLOWER = 0.9, 1.1
_HOPELESS = 10.0


def autocast(amp: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context for "none", "bf16" or "fp16". Neurons keep their membranes in float32 under
    it.
    """
    return nullcontext() if amp == "none" else torch.autocast(device.type, dtype=_DTYPES[amp])


def settle(recipe: Recipe, run: Path, world: World, resume: bool) -> tuple[Recipe, str]:
    """The recipe with "auto" exchanged for what this machine is fast with, and what to tell the
    user, or "".

    The run keeps the choice: a resumed run computes in the type it was begun with. The first
    process measures, for all.
    """
    amp = recipe.run.amp
    stored = run / "recipe.yaml"
    if amp != "auto":
        return recipe, _warning(amp, world.device) if world.is_main else ""
    taken: str | None = None
    told = ""
    if world.is_main and resume and stored.exists():
        taken = read_recipe(stored).run.amp
    elif world.is_main:
        taken, told = choose(world.device)
    chosen = cast(Amp, first_of_all(taken, world))
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, amp=chosen)), told


def choose(device: torch.device) -> tuple[Amp, str]:
    """The type that "auto" stands for on a device, and why.

    bf16 where it saves time, on a GPU else fp16 where that does; else none.
    """
    names: tuple[Amp, ...] = ("bf16", "fp16") if device.type == "cuda" else ("bf16",)
    ratios: dict[Amp, float] = {}
    for name in names:
        ratios[name] = time_ratio(name, device)
        if ratios[name] <= FASTER:
            return name, f"run.amp auto: {name} ({_sentence(name, ratios[name])})"
    reasons = "; ".join(_sentence(name, ratio) for name, ratio in ratios.items())
    return "none", f"run.amp auto: none ({reasons})"


def time_ratio(amp: Amp, device: torch.device, rounds: int = 9) -> float:
    """Time of a convolution, forward and backward, in a type, divided by its time in float32:
    the best of several rounds of each, in turns, in one thread, so that other work on the machine
    decides nothing. Takes about 50 ms; a type that is hopeless in the first round has no other.
    """
    with torch.random.fork_rng(devices=[]), _one_thread():  # a run's draws are as without this
        step = _convolution(device)
        for name in (amp, "none"):
            step(name)
        pairs = [(step(amp), step("none"))]
        while len(pairs) < rounds and pairs[0][0] < _HOPELESS * pairs[0][1]:
            pairs.append((step(amp), step("none")))
        return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _convolution(device: torch.device) -> Callable[[str], float]:
    """A function that does it under the autocast of a name, and returns the seconds."""
    layer: nn.Module = nn.Conv2d(64, 64, 3, padding=1).to(device)
    images = torch.rand(8, 64, 16, 16, device=device).to(memory_format=torch.channels_last)
    images.requires_grad_()

    def seconds(name: str) -> float:
        began = time.perf_counter()
        with autocast(name, device):
            output = layer(images)
        output.float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return seconds


def _warning(amp: Amp, device: torch.device) -> str:
    if amp == "none" or (ratio := time_ratio(amp, device)) < SLOWER:
        return ""
    return (
        f"run.amp {amp}: {_sentence(amp, ratio)}: this {_kind(device)} emulates {amp}. "
        "--run.amp none is faster here; auto chooses by itself"
    )


def _sentence(amp: Amp, ratio: float) -> str:
    return f"a convolution in {amp} takes {ratio:.2f} times as long as in float32"


def _kind(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "processor"
