"""Plans changed at random: refused, or run without harm, the compiled engine giving the bits of the twin."""

import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from spikedriven.engine import Program, file
from spikedriven.engine.native import available
from spikedriven.errors import InputError
from tests.engine.nets import thin, thin_plan

NUMBERS = [
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    31,
    32,
    33,
    64,
    255,
    256,
    2**15,
    2**16,
    2**31 - 1,
    0.5,
    0.0,
    -1.0,
    1e30,
]
TEXTS = [
    "real",
    "spikes",
    "rows",
    "dense",
    "depthwise",
    "float",
    "lif",
    "integer",
    "vector",
    "per_step",
    "map",
    "Fire",
]


def mutated(described: dict, rng: random.Random) -> dict:
    """One field of a description, anywhere, set to a value that another field might have."""
    described = copy.deepcopy(described)
    place: Any = rng.choice([described, *described["maps"], *3 * described["operations"]])
    if isinstance(place.get("neuron"), dict) and rng.random() < 0.3:
        place = place["neuron"]
    key = rng.choice(
        [key for key in place if key not in ("maps", "operations", "name", "operation")] or ["none"]
    )
    old = place.get(key)
    if isinstance(old, bool):
        place[key] = not old
    elif isinstance(old, str):
        place[key] = rng.choice(TEXTS)
    elif isinstance(old, float):
        place[key] = float(rng.choice(NUMBERS))
    else:
        near = [old + rng.randint(-3, 3)] if isinstance(old, int) else []
        place[key] = rng.choice([None, *near, *near, *near, rng.choice(NUMBERS)])
    return described


@pytest.mark.parametrize(
    "name", ["sdt_2_256_cifar10dvs", "e_spikeformer_5m", "spikingformer_2_256_dvs"]
)
@pytest.mark.parametrize("times", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_mutated_plans(name: str, times: int) -> None:
    described, arrays = file._described(thin_plan(name))
    rng, ran = random.Random(0), 0
    for _ in range(times):
        changed = mutated(described, rng)
        if changed == described:
            continue
        try:
            plan = file._plan(changed, arrays)
        except InputError:
            continue
        ran += 1
        image = plan.maps[0]
        frames = (image.steps,) if plan.input_frames else ()
        x = thin(name)[1].flatten()[
            : int(np.prod((*frames, image.channels, image.height, image.width)))
        ]
        x = x.reshape(1, *frames, image.channels, image.height, image.width)
        with (
            warnings.catch_warnings()
        ):  # constants like 1e30 overflow float32, in both in the same way
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = Program(plan, native=False).maps(x)
        if available():
            for index, ((_, a), (_, b)) in enumerate(
                zip(expected, Program(plan, native=True).maps(x), strict=True)
            ):
                assert torch.equal(a, b) or a.isnan().any(), (index, name)
    assert ran > times / 20
