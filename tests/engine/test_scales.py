"""Integer weights: as exact as their bits allow, and no sum leaves 32 bits, not even for the worst input."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from spikedriven.engine import Program, scales
from spikedriven.engine.check import check_plan
from spikedriven.engine.native import available, instruction_sets
from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    IntegerSpec,
    Map,
    Plan,
    SpaceMean,
    WeightLayer,
)
from spikedriven.engine.scales import LIMIT16, LIMIT32, LIMIT_WIDE
from spikedriven.errors import InputError

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state
SHAPES = [(5, 3, 3, 3), (4, 64, 1, 1), (8, 1, 7, 7), (2, 2048, 3, 3), (3, 1, 1, 1)]


@pytest.fixture(autouse=True)
def _seed_numbers() -> None:
    """The same numbers for a test, whatever ran before it."""
    RNG.bit_generator.state = START


def adverse(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Weights that make sums large: all alike, or two of them far above the rest."""
    if kind == "normal":
        return RNG.normal(size=shape)
    if kind == "equal":
        return np.full(shape, 0.3)
    weight = np.full(shape, 1e-3)
    weight.reshape(len(weight), -1)[:, :2] = 5.0
    return weight


@pytest.mark.parametrize("levels", [1, 4, 255])
@pytest.mark.parametrize("kind", ["normal", "equal", "peaks"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_largest_sums_fit_32_bits(shape: tuple[int, ...], kind: str, levels: int) -> None:
    weight = adverse(shape, kind)
    integers, step = scales.quantized(weight, levels)
    assert (
        integers.dtype == (np.int16 if levels == 1 else np.int32)
        and np.abs(integers).max() <= LIMIT_WIDE
    )
    wide = integers.astype(np.int64).reshape(len(weight), -1)
    # the inputs that reach the largest and the smallest sums: every count `levels` where weights have one sign
    assert (np.where(wide > 0, wide, 0) * levels).sum(axis=1).max() <= LIMIT32
    assert (np.where(wide < 0, wide, 0) * levels).sum(axis=1).min() >= -LIMIT32
    assert (np.abs(wide) * levels).sum(axis=1).max() <= LIMIT32
    error = np.abs(integers * step.reshape(-1, 1, 1, 1) - weight)
    assert (error <= step.reshape(-1, 1, 1, 1) * (0.5 + 1e-9)).all()


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bits_are_given_away(shape: tuple[int, ...], levels: int) -> None:
    integers, _ = scales.quantized(adverse(shape, "normal"), levels)
    sizes = -np.sort(-np.abs(integers.astype(np.int64)).reshape(len(integers), -1), axis=1)
    # two rows of binary inputs are added in 16 bits
    largest, limit = (
        (sizes[:, :2].sum(axis=1), LIMIT16) if levels == 1 else (sizes[:, 0], LIMIT_WIDE)
    )
    assert largest.max() <= limit
    assert ((largest >= limit - 2) | (sizes.sum(axis=1) * levels > 0.9 * LIMIT32)).all()


def test_a_channel_of_zeros() -> None:
    weight = np.zeros((2, 3, 1, 1))
    weight[1] = 2.0
    integers, step = scales.quantized(weight, 1)
    assert (
        not integers[0].any()
        and step[0] == 1.0
        and np.allclose(integers[1] * step[1], 2.0, rtol=1e-4)
    )


def test_scale_in_float32() -> None:
    scale = scales.as_scale(np.array([1e-3, 3.0]), 0.25)
    assert scale.dtype == np.float32 and np.array_equal(
        scale, np.array([1e-3 * 0.25, 0.75], dtype=np.float32)
    )


# The same with programs: an image of large values makes every neuron count as far as it can -------------------------

CHANNELS, LEVELS = 512, 255


def worst_plan(weight: np.ndarray, mode: str, levels: int = LEVELS, inputs: int = CHANNELS) -> Plan:
    """Image -> the largest counts everywhere -> one 3x3 layer."""
    first = np.ones((inputs, 1, 1, 1), dtype=np.float32)
    out = len(weight)
    ones, none = np.ones, np.zeros
    image, real, spikes = (
        Map("real", 1, 3, 3, 1),
        Map("real", 1, 3, 3, inputs),
        Map("spikes", 1, 3, 3, inputs),
    )
    maps = (
        image,
        real,
        spikes,
        Map("real", 1, 3, 3, out),
        Map("real", 1, 1, 1, out),
        Map("real", 1, 1, 1, 1),
    )
    operations = (
        Image(0),
        WeightLayer(0, first, ones(inputs, "f4"), none(inputs, "f4"), mode="float", real=1),
        Fire(1, 2, IntegerSpec(levels, False)),
        WeightLayer(
            2, weight, ones(out, "f4"), none(out, "f4"), pad=1, levels=levels, mode=mode, real=3
        ),
        SpaceMean(3, 4),
        Head(4, 5, ones((1, out), "f4"), none(1, "f4")),
    )
    return Plan(1, False, maps, operations, 5, "vector")


def largest_sums(mode: str, levels: int = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Integer weights as `quantized` makes them, of one sign, and the sum in the middle, in int64."""
    inputs = 1 if mode == "depthwise" else CHANNELS
    weight = RNG.uniform(0.5, 1.0, size=(CHANNELS if inputs == 1 else 3, inputs, 3, 3))
    weight[1] *= -1
    integers, _ = scales.quantized(weight, levels)
    return integers, integers.astype(np.int64).sum(axis=(1, 2, 3)) * levels


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize(("mode", "levels"), [("rows", 15), ("dense", 255), ("depthwise", 255)])
def test_the_largest_sums_are_right_in_every_instruction_set(mode: str, levels: int) -> None:
    weight, expected = largest_sums(mode, levels)
    if mode == "dense":
        assert np.abs(expected).max() > 0.99 * LIMIT32
    plan = worst_plan(weight, mode, levels)
    check_plan(plan)
    x = torch.full((1, 1, 3, 3), 1e6)
    for isa in ("twin", *instruction_sets()):
        found = Program(plan, isa != "twin", "" if isa == "twin" else isa).maps(x)[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected.astype(np.float32)), isa


ODD_WEIGHTS = {  # what no compilation makes, but a file may hold: the largest; two leave 16 bits, or just do not
    "largest": lambda shape: np.full(shape, 2**15 - 1),
    "smallest": lambda shape: np.full(shape, -(2**15)),
    "just a pair": lambda shape: (
        np.full(shape, 2**14) - np.arange(np.prod(shape)).reshape(shape) % 2
    ),
    "one too many for a pair": lambda shape: np.full(shape, 2**14),
    "largest wide": lambda shape: np.full(shape, LIMIT_WIDE),
    "smallest wide": lambda shape: np.full(shape, -LIMIT_WIDE),
    "halves": lambda shape: np.arange(np.prod(shape)).reshape(shape) % 259 * 64 - 8300,
    "both signs": lambda shape: np.where(
        np.arange(np.prod(shape)).reshape(shape) % 3 == 0, -(2**15), 2**15 - 1
    ),
}
WIDE = ("largest wide", "smallest wide", "halves")


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("kind", ODD_WEIGHTS)
@pytest.mark.parametrize("mode", ["rows", "dense", "depthwise"])
def test_weights_that_no_compilation_makes(mode: str, kind: str, levels: int) -> None:
    inputs = (
        1 if mode == "depthwise" else 56 // levels if "wide" in kind else CHANNELS
    )  # sums of the wide ones just fit
    weight = ODD_WEIGHTS[kind]((CHANNELS if inputs == 1 else 40, inputs, 3, 3))
    weight = weight.astype(np.int32 if kind in WIDE else np.int16)
    plan = worst_plan(weight, mode, levels, inputs if inputs > 1 else CHANNELS)
    check_plan(plan)
    expected = (weight.astype(np.int64).sum(axis=(1, 2, 3)) * levels).astype(np.float32)
    for isa in instruction_sets():
        found = Program(plan, True, isa).maps(torch.full((1, 1, 3, 3), 1e6))[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected), isa


def test_the_check_of_plans_knows_the_bound() -> None:
    weight, sums = largest_sums("dense")
    spare = (LIMIT32 - int(np.abs(sums[0]))) // LEVELS
    for more, fits in ((spare, True), (spare + 1, False)):
        edge = weight.copy()
        each = np.minimum(LIMIT_WIDE - edge[0].reshape(-1), more)
        edge[0].reshape(-1)[:] += np.diff(
            np.minimum(np.cumsum(each, dtype=np.int64), more), prepend=0
        ).astype(np.int32)
        assert (
            np.abs(edge[0].astype(np.int64)).sum()
            == np.abs(weight[0].astype(np.int64)).sum() + more
        )
        plan = worst_plan(edge, "dense")
        if fits:
            check_plan(plan)
        else:
            with pytest.raises(
                InputError,
                match=r"operation 3 \(WeightLayer\): sums of 2147483\d+ do not fit 32 bits",
            ):
                check_plan(plan)


@pytest.mark.parametrize(
    ("largest", "fits"), [(LIMIT_WIDE, True), (LIMIT_WIDE + 1, False), (-(2**31), False)]
)
def test_the_check_of_plans_knows_how_large_a_weight_may_be(largest: int, fits: bool) -> None:
    weight = np.zeros((3, CHANNELS, 3, 3), dtype=np.int32)
    weight[1, 2, 0, 1] = largest
    if fits:
        check_plan(worst_plan(weight, "dense"))
    else:
        with pytest.raises(InputError, match=f"a weight of {abs(largest)}, more than {LIMIT_WIDE}"):
            check_plan(worst_plan(weight, "dense"))


@pytest.mark.parametrize(
    ("levels", "why"), [(254, "its input counts to 255, but levels is 254"), (255, None)]
)
def test_the_check_of_plans_follows_the_counts(levels: int, why: str | None) -> None:
    plan = worst_plan(largest_sums("dense")[0], "dense")
    layer = dataclasses.replace(plan.operations[3], levels=levels)
    plan = dataclasses.replace(plan, operations=(*plan.operations[:3], layer, *plan.operations[4:]))
    if why is None:
        check_plan(plan)
    else:
        with pytest.raises(InputError, match=why):
            check_plan(plan)


def test_the_builder_takes_the_levels_of_the_neuron() -> None:
    from spikedriven.neurons import IntegerNeuron
    from tests.engine.nets import built

    build, image = built(1, CHANNELS, 3)
    spikes = build.fire(
        build.convolution(image, nn.Conv2d(CHANNELS, CHANNELS, 1)), IntegerNeuron(LEVELS)
    )
    conv = nn.Conv2d(CHANNELS, 2, 3, padding=1)
    with torch.no_grad():
        conv.weight.fill_(0.5)
    build.convolution(spikes, conv)
    layer = build.operations[-1]
    largest = int(np.abs(layer.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max()) * LEVELS
    assert layer.levels == LEVELS and 0.99 * LIMIT32 < largest <= LIMIT32
    assert layer.scale[0] * layer.weight[0, 0, 0, 0] == pytest.approx(0.5 / LEVELS, rel=1e-3)
