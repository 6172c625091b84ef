"""Plans changed at random: refused, or run without harm, the compiled engine giving the bits of
the twin.
"""

import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest

from spikedriven.engine import Program, file
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available
from tests.engine.nets import thin, thin_plan
from tests.engine.plans import same

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
    "grouped",
    "float",
    "lif",
    "integer",
    "BC",
    "TBC",
    "BCHW",
    "BNC",
    "max",
    "mean",
]

UNTOUCHED = ("maps", "inputs", "outputs", "operations", "name", "operation")


def mutated(described: dict, rng: random.Random) -> dict:
    """One field of a description, anywhere, set to a value that another field might have."""
    described = copy.deepcopy(described)
    ports = [*described["inputs"], *described["outputs"]]
    place: Any = rng.choice([described, *ports, *described["maps"], *3 * described["operations"]])
    if isinstance(place.get("neuron"), dict) and rng.random() < 0.3:
        place = place["neuron"]
    key = rng.choice([key for key in place if key not in UNTOUCHED] or ["none"])
    old = place.get(key)
    if isinstance(old, list):
        place[key] = [*old[:-1], rng.choice(NUMBERS)]
    elif isinstance(old, bool):
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
@pytest.mark.parametrize("times", [60, pytest.param(1000, marks=pytest.mark.slow)])
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
        (port,) = plan.inputs
        m = plan.maps[port.map]
        sizes = {
            "T": m.steps,
            "C": m.channels,
            "H": m.height,
            "W": m.width,
            "N": m.height * m.width,
        }
        shape = [sizes.get(axis, 1) for axis in port.axes]
        x = thin(name)[1].flatten()[: int(np.prod(shape))].reshape(shape)
        with (
            warnings.catch_warnings()
        ):  # constants like 1e30 overflow float32, in both in the same way
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = Program(plan, native=False).maps(x)
        if available():
            for index, ((_, a), (_, b)) in enumerate(
                zip(expected, Program(plan, native=True).maps(x), strict=True)
            ):
                assert same(a, b), (index, name)
    assert ran > times / 60
