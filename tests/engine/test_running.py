"""`Program`: several inputs and outputs in any order of axes, streams, and what it says of
itself.
"""

import dataclasses

import numpy as np
import pytest
import torch

from spikedriven.engine import Program, file
from spikedriven.engine.program import Concat, Fire, Pick, Plan, Port, Sum, TimeMean
from spikedriven.engine.stream import State
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available
from tests.engine.nets import thin, thin_plan
from tests.engine.plans import LIF, Sketch, assert_steps_are_the_whole, same

STREAMED = [
    "sdt_2_256_cifar10dvs",
    "meta_spikeformer_15m",
    "spikingformer_2_256_dvs",
    "meta_spikeformer_hardvs_18m",
]
NATIVE = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not available(), reason="no compiled engine")),
]


def two_by_two(
    axes_in: tuple[str, str], axes_out: tuple[str, str], names: tuple[str, str] = ("", "")
) -> Plan:
    """Two inputs of 2 x 3 positions and 5 channels, the second with 2 steps; handed out: their
    sum and its spikes.
    """
    sketch = Sketch(0)
    a, b = sketch.real(2, 3, 5), sketch.real(2, 3, 5, steps=2)
    total, spikes = sketch.map("real", 2, 2, 3, 5), sketch.map("spikes", 2, 2, 3, 5, unit=0.5)
    sketch.operations += [Sum(a, b, total), Fire(total, spikes, LIF)]
    plan = sketch.plan(total, spikes)
    inputs = tuple(Port(port.map, axes) for port, axes in zip(plan.inputs, axes_in, strict=True))
    outputs = tuple(Port(*port) for port in zip((total, spikes), axes_out, names, strict=True))
    return dataclasses.replace(plan, inputs=inputs, outputs=outputs)


def arranged(x: torch.Tensor, axes: str) -> torch.Tensor:
    """[B, T, H, W, C] in another order; N: all positions."""
    letters, x = ("BTNC", x.flatten(2, 3)) if "N" in axes else ("BTHWC", x)
    if "T" not in axes:
        letters, x = letters.replace("T", ""), x[:, 0]
    return x.permute([letters.index(axis) for axis in axes])


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("axes", ["BTHWC", "TBCHW", "BTCHW", "BTNC", "CNTB", "TBNC"])
def test_axes_of_inputs_and_outputs(axes: str, native: bool) -> None:
    still = axes.replace("T", "")
    a, b = torch.randn(3, 1, 2, 3, 5), 2 * torch.randn(3, 2, 2, 3, 5)
    program = Program(two_by_two((still, axes), (axes, axes)), native)
    total, spikes = program(arranged(a, still), arranged(b, axes))
    assert torch.equal(total, arranged(a + b, axes)) and total.shape == arranged(b, axes).shape
    assert set(spikes.unique().tolist()) == {0.0, 0.5}
    plain = Program(two_by_two(("BHWC", "BTHWC"), ("BTHWC", "BTHWC")), native)(a[:, 0], b)
    assert torch.equal(spikes, arranged(plain[1], axes))


def test_outputs_by_name() -> None:
    plan = two_by_two(("BHWC", "BTHWC"), ("BTHWC", "TBHWC"), ("sum", "spikes"))
    found = Program(plan)(torch.ones(1, 2, 3, 5), torch.ones(1, 2, 2, 3, 5))
    assert list(found) == ["sum", "spikes"] and torch.equal(
        found["sum"], 2 * torch.ones(1, 2, 2, 3, 5)
    )
    assert list(Program(plan).step((torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 5)))[0]) == [
        "sum",
        "spikes",
    ]


def test_a_map_of_one_step_is_handed_out_for_every_step() -> None:
    sketch = Sketch(0, steps=3)
    sketch.real(1, 1, 4)
    plan = dataclasses.replace(sketch.plan(0), outputs=(Port(0, "TBC"),))
    x = torch.randn(2, 1, 1, 4)
    assert torch.equal(Program(plan)(x), x[:, 0, 0].expand(3, 2, 4))


def test_inputs_that_do_not_fit() -> None:
    program = Program(two_by_two(("BHWC", "BTHWC"), ("BTHWC", "BTHWC")))
    a, b = torch.randn(3, 2, 3, 5), torch.randn(3, 2, 2, 3, 5)
    with pytest.raises(InputError, match="takes 2 inputs, found 1"):
        program(a)
    with pytest.raises(InputError, match=r"of one batch, found \[2, 3\]"):
        program(a, b[:2])
    with pytest.raises(
        InputError,
        match=r"takes floating point \[B, 2, 2, 3, 5\], found torch.float32 \[3, 2, 3, 5\]",
    ):
        program(a, b[:, 0])
    with pytest.raises(InputError, match="maps are those of a batch of one, found 3"):
        program.maps(a, b)


# Streams
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("name", STREAMED)
def test_the_steps_of_a_network_are_the_whole(name: str, native: bool) -> None:
    plan = thin_plan(name)
    x = thin(name)[1][:2]
    assert plan.time_steps > 1
    assert_steps_are_the_whole(plan, [x], native)


def test_states_are_values() -> None:
    """Going on from one state twice gives the same; two streams do not mix; a state is not
    changed by its use.
    """
    program, x = Program(thin_plan("sdt_2_256_cifar10dvs")), thin("sdt_2_256_cifar10dvs")[1]
    first, state = program.step(x[:2, 0])
    kept = [value.clone() for value in state.values]
    again = program.step(x[:2, 1], state)
    program.step(x[1:3, 0])
    assert torch.equal(program.step(x[:2, 1], state)[0], again[0]) and not torch.equal(
        first, again[0]
    )
    assert (
        all(torch.equal(a, b) for a, b in zip(kept, state.values, strict=True))
        and again[1].steps == 2
    )


def test_a_stream_may_be_longer_than_the_network_was_made_for() -> None:
    model, x = thin("spikingformer_2_256_dvs")
    longer = torch.cat([x, x.flip(1)], dim=1)
    from spikedriven.engine.lower import lower

    whole = Program(lower(model, longer).plan())(longer)
    program, state = Program(thin_plan("spikingformer_2_256_dvs")), None
    for t in range(longer.shape[1]):
        found, state = program.step(longer[:, t], state)
    assert torch.equal(found, whole)


def test_states_that_do_not_fit() -> None:
    program, x = Program(thin_plan("sdt_2_256_cifar10dvs")), thin("sdt_2_256_cifar10dvs")[1]
    state = program.step(x[:2, 0])[1]
    with pytest.raises(InputError, match="of another batch than 3"):
        program.step(x[:3, 0], state)
    with pytest.raises(InputError, match="of another program"):
        program.step(x[:2, 0], State(1, state.values[1:]))
    with pytest.raises(InputError, match="of another program"):
        program.step(x[:2, 0], State(-1, state.values))
    with pytest.raises(
        InputError, match=r"a state is what program\.step returned, or None to begin; found dict"
    ):
        program.step(x[:2, 0], {})
    with pytest.raises(InputError, match="NaN or infinity"):
        program.step(x[:2, 0], State(1, tuple(value * torch.nan for value in state.values)))
    with pytest.raises(InputError, match="this program takes floating point"):
        program.step(x[:2], state)


def not_steppable(kind: str) -> Plan:
    sketch = Sketch(0)
    source = sketch.real(2, 2, 4, steps=2)
    if kind == "mean":
        mean, spikes = sketch.map("real", 1, 2, 2, 4), sketch.map("spikes", 2, 2, 2, 4)
        sketch.operations += [TimeMean(source, mean), Fire(mean, spikes, LIF)]
        return sketch.plan(spikes)
    if kind == "join":
        still, joined = sketch.real(2, 2, 4), sketch.map("real", 2, 2, 2, 4)
        sketch.operations.append(Concat((still, still), joined, "steps"))
        return sketch.plan(joined)
    last = sketch.map("real", 1, 2, 2, 4)
    every = [np.arange(n, dtype=np.int32) for n in (2, 2, 4)]
    sketch.operations.append(Pick(source, last, np.array([1], dtype=np.int32), *every))
    return sketch.plan(last)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("mean", r"operation 2 \(Fire\) reads a mean over time"),
        ("pick", r"operation 1 \(Pick\) picks steps of time"),
        ("join", r"operation 2 \(Concat\) joins maps along time"),
    ],
)
def test_networks_that_need_all_steps_at_once(kind: str, why: str) -> None:
    plan = not_steppable(kind)
    program = Program(plan)
    frames = [torch.ones(1, 2, 2, 4) for _ in plan.inputs]
    with pytest.raises(InputError, match=f"cannot be run step by step: {why}"):
        program.step(tuple(frames))


# What it is
# --------------------------------------------------------------------------------------------------


def test_a_program_says_what_it_is() -> None:
    plan = thin_plan("e_spikeformer_5m")
    text = str(Program(plan, native=False))
    assert "[B, 3, 64, 64] BCHW" in text and "[B, 1000] BC" in text and "the readable twin" in text
    layers = sum(type(operation).__name__ == "WeightLayer" for operation in plan.operations)
    shown = [line.split() for line in text.splitlines() if "WeightLayer" in line]
    assert sum(int(words[-1]) for words in shown) == layers
    assert repr(Program(plan, native=False)).startswith(
        f"Program({len(plan.operations)} operations"
    )


def test_files_keep_every_operation_and_name(tmp_path) -> None:
    plan = two_by_two(("BHWC", "BTCHW"), ("BTHWC", "TBNC"), ("sum", "spikes"))
    file.save(plan, tmp_path / "a")
    back = file.load(tmp_path / "a")
    assert back == plan
    inputs = torch.randn(1, 2, 3, 5), torch.randn(1, 2, 5, 2, 3)
    a, b = Program(plan)(*inputs), Program(back)(*inputs)
    assert all(same(a[name], b[name]) for name in ("sum", "spikes"))
