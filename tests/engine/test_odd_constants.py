"""Constants at the ends of float32: native and twin agree, or the plan is refused by both with
one message.
"""

import dataclasses

import numpy as np
import pytest

from spikedriven.engine.program import Constant, Fire, Sum
from spikedriven.errors import InputError
from tests.engine.plans import LIF, Sketch, assert_native_is_twin

ODD = [1e-40, -1e-40, 1e-46, 5e-324, 1e-38, 0.0, 3.4e38, -3.4e38]
SIZE = (3, 3, 4)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("field", ["threshold", "rest"])
def test_thresholds_and_rests(field: str, value: float) -> None:
    sketch = Sketch(0)
    source = sketch.real(*SIZE, steps=sketch.steps)
    out = sketch.map("spikes", sketch.steps, *SIZE)
    sketch.operations.append(Fire(source, out, dataclasses.replace(LIF, **{field: value})))
    plan = sketch.plan(out)
    assert_native_is_twin(plan, sketch.example(plan))


@pytest.mark.parametrize("value", [1e-40, 5e-324, 0.0, 3.4e38, -2.0])
def test_a_leak_that_no_neuron_has_is_refused(value: float) -> None:
    sketch = Sketch(0)
    source = sketch.real(*SIZE, steps=sketch.steps)
    out = sketch.map("spikes", sketch.steps, *SIZE)
    sketch.operations.append(Fire(source, out, dataclasses.replace(LIF, leak=value)))
    with pytest.raises(InputError, match=r"operation 1 \(Fire\): the leak of a neuron lies in"):
        sketch.plan(out)


@pytest.mark.parametrize("value", ODD)
def test_constants_and_factors(value: float) -> None:
    sketch = Sketch(0)
    source, constant = sketch.real(*SIZE), sketch.map("real", 1, *SIZE)
    sketch.operations.append(Constant(constant, np.full(SIZE, value, np.float32)))
    small, out = (sketch.map("real", 1, *SIZE) for _ in range(2))
    sketch.operations += [Sum(source, constant, small, 1.0), Sum(constant, small, out, value)]
    plan = sketch.plan(out)
    with np.errstate(over="ignore"):
        assert_native_is_twin(plan, sketch.example(plan))
