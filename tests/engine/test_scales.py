"""Integer weights: as exact as their bits allow, and no sum leaves 32 bits, not even for the
worst input.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from spikedriven.engine import Program, scales
from spikedriven.engine.check import check_plan
from spikedriven.engine.lower import lower
from spikedriven.engine.program import Fire, Head, Image, Map, Plan, Pool, Port, WeightLayer
from spikedriven.engine.scales import LIMIT16, LIMIT32, WEIGHT_BITS, largest_integer
from spikedriven.engine.windows import adaptive
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available, instruction_sets
from spikedriven.kernels.spec import IntegerSpec
from spikedriven.neurons import IntegerNeuron

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


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("levels", [1, 4, 255])
@pytest.mark.parametrize("kind", ["normal", "equal", "peaks"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_largest_sums_fit_32_bits(
    shape: tuple[int, ...], kind: str, levels: int, bits: int
) -> None:
    weight = adverse(shape, kind)
    integers, step = scales.quantized(weight, levels, bits)
    assert integers.dtype == (np.int16 if bits == 16 else np.int8)
    assert np.abs(integers.astype(int)).max() <= largest_integer(bits)
    wide = integers.astype(np.int64).reshape(len(weight), -1)
    # the inputs that reach the largest and the smallest sums: every count `levels` where weights
    # have one sign
    assert (np.where(wide > 0, wide, 0) * levels).sum(axis=1).max() <= LIMIT32
    assert (np.where(wide < 0, wide, 0) * levels).sum(axis=1).min() >= -LIMIT32
    assert (np.abs(wide) * levels).sum(axis=1).max() <= LIMIT32
    error = np.abs(integers * step.reshape(-1, 1, 1, 1) - weight)
    assert (error <= step.reshape(-1, 1, 1, 1) * (0.5 + 1e-9)).all()


@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bits_are_given_away(shape: tuple[int, ...], levels: int, bits: int) -> None:
    integers, _ = scales.quantized(adverse(shape, "normal"), levels, bits)
    sizes = -np.sort(-np.abs(integers.astype(np.int64)).reshape(len(integers), -1), axis=1)
    # two rows of 16 bits are added in 16 bits, where inputs are binary
    in_pairs = bits == 16 and levels == 1
    largest, limit = (
        (sizes[:, :2].sum(axis=1), LIMIT16) if in_pairs else (sizes[:, 0], largest_integer(bits))
    )
    assert largest.max() <= limit and largest.max() >= limit - 2
    assert ((largest >= limit - 2) | (sizes.sum(axis=1) * levels > 0.9 * LIMIT32)).all()


def test_a_channel_of_zeros() -> None:
    weight = np.zeros((2, 3, 1, 1))
    weight[1] = 2.0
    integers, step = scales.quantized(weight, 1)
    assert integers[1, 0, 0, 0] == 127
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


# The same with programs: an image of large values makes every neuron count as far as it can
# -------------------------

CHANNELS, LEVELS = 512, 255


def worst_plan(weight: np.ndarray, mode: str, levels: int = LEVELS, inputs: int = CHANNELS) -> Plan:
    """Image -> the largest counts everywhere -> one 3x3 layer."""
    first = np.ones((inputs, 1, 1, 1), dtype=np.float32)
    out = len(weight)
    ones, none = np.ones, np.zeros
    image, real = Map("real", 1, 3, 3, 1), Map("real", 1, 3, 3, inputs)
    spikes = Map("spikes", 1, 3, 3, inputs, levels=levels)
    maps = (
        image,
        real,
        spikes,
        Map("real", 1, 3, 3, out),
        Map("real", 1, 1, 1, out),
        Map("real", 1, 1, 1, 1),
    )
    groups = inputs if mode == "grouped" else 1
    layer = WeightLayer(
        2,
        weight,
        ones(out, "f4"),
        none(out, "f4"),
        padding=(1, 1, 1, 1),
        groups=groups,
        mode=mode,
        real=3,
    )
    operations = (
        Image(0),
        WeightLayer(0, first, ones(inputs, "f4"), none(inputs, "f4"), mode="float", real=1),
        Fire(1, 2, IntegerSpec(levels, False)),
        layer,
        Pool(3, 4, adaptive(3, 1), adaptive(3, 1), "mean"),
        Head(4, 5, ones((1, out), "f4"), none(1, "f4")),
    )
    return Plan(1, maps, operations, (Port(0, "BCHW"),), (Port(5, "BC"),))


def largest_sums(mode: str, levels: int = LEVELS, bits: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Integer weights as `quantized` makes them, of one sign, and the sum in the middle, in
    int64.
    """
    inputs = 1 if mode == "grouped" else CHANNELS
    weight = RNG.uniform(0.5, 1.0, size=(CHANNELS if inputs == 1 else 3, inputs, 3, 3))
    weight[1] *= -1
    integers, _ = scales.quantized(weight, levels, bits)
    return integers, integers.astype(np.int64).sum(axis=(1, 2, 3)) * levels


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize("bits", [5, 8, 16])
@pytest.mark.parametrize(
    ("mode", "levels"), [("rows", 1), ("rows", 15), ("dense", 15), ("dense", 255), ("grouped", 255)]
)
def test_the_largest_sums_are_right_in_every_instruction_set(
    mode: str, levels: int, bits: int
) -> None:
    weight, expected = largest_sums(mode, levels, bits)
    if (mode, levels, bits) == ("dense", 255, 16):
        assert np.abs(expected).max() > 0.99 * LIMIT32
    plan = worst_plan(weight, mode, levels)
    check_plan(plan)
    x = torch.full((1, 1, 3, 3), 1e6)
    for isa in ("twin", *instruction_sets()):
        found = Program(plan, isa != "twin", "" if isa == "twin" else isa).maps(x)[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected.astype(np.float32)), isa


# what no compilation makes, but a file may hold: the largest; two leave 16 bits, or just do not
ODD_WEIGHTS = {
    "largest": lambda shape: np.full(shape, 2**15 - 1),
    "smallest": lambda shape: np.full(shape, -(2**15)),
    "just a pair": lambda shape: (
        np.full(shape, 2**14) - np.arange(np.prod(shape)).reshape(shape) % 2
    ),
    "one too many for a pair": lambda shape: np.full(shape, 2**14),
    "largest byte": lambda shape: np.full(shape, 2**7 - 1),
    "smallest byte": lambda shape: np.full(shape, -(2**7) + 1),
    "bytes of both signs": lambda shape: np.where(
        np.arange(np.prod(shape)).reshape(shape) % 3 == 0, -(2**7) + 1, 2**7 - 1
    ),
    "both signs": lambda shape: np.where(
        np.arange(np.prod(shape)).reshape(shape) % 3 == 0, -(2**15), 2**15 - 1
    ),
}


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize("levels", [1, 3, 15])
@pytest.mark.parametrize("kind", ODD_WEIGHTS)
@pytest.mark.parametrize("mode", ["rows", "dense", "grouped"])
def test_weights_that_no_compilation_makes(mode: str, kind: str, levels: int) -> None:
    inputs = 1 if mode == "grouped" else 64 if levels == 15 else CHANNELS
    weight = ODD_WEIGHTS[kind]((CHANNELS if inputs == 1 else 40, inputs, 3, 3))
    weight = weight.astype(np.int8 if "byte" in kind else np.int16)
    plan = worst_plan(weight, mode, levels, inputs if inputs > 1 else CHANNELS)
    check_plan(plan)
    expected = (weight.astype(np.int64).sum(axis=(1, 2, 3)) * levels).astype(np.float32)
    for isa in instruction_sets():
        found = Program(plan, True, isa).maps(torch.full((1, 1, 3, 3), 1e6))[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected), isa


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize("levels", [32, 33, 64, 65, 127, 128, 129, 130, 255])
@pytest.mark.parametrize("largest", [127, -127, 64, 1])
def test_products_of_bytes_at_the_edge_of_16_bits(levels: int, largest: int) -> None:
    """Two products of 129 and 127 leave 16 bits, as many of fewer do: then words are
    multiplied, or sums widened.
    """
    weight = np.full((33, 96, 3, 3), largest, dtype=np.int8)
    expected = weight.astype(np.int64).sum(axis=(1, 2, 3)) * levels
    plan = worst_plan(weight, "dense", levels, 96)
    for isa in instruction_sets():
        found = Program(plan, True, isa).maps(torch.full((1, 1, 3, 3), 1e6))[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected.astype(np.float32)), isa


@pytest.mark.skipif(not available(), reason="installed without the compiled engine")
@pytest.mark.parametrize("more", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mode", ["rows", "grouped"])
def test_sums_of_bytes_at_the_edge_of_16_bits(mode: str, sign: int, more: int) -> None:
    """32766, 32767 and 32768: what leaves 16 bits is added in 32."""
    levels, channels = (1, 64) if mode == "rows" else (126, 1)
    flat = np.zeros(9 * channels, dtype=np.int64)
    flat[: 258 if mode == "rows" else 2] = 127
    flat[-1] = (32766 - 127 * 258 if mode == "rows" else 6) + more * (mode == "rows")
    flat[-2] += more * (mode == "grouped")
    weight = (sign * np.tile(flat.reshape(1, channels, 3, 3), (64, 1, 1, 1))).astype(np.int8)
    plan = worst_plan(weight, mode, levels, 64)
    expected = (weight.astype(np.int64).sum(axis=(1, 2, 3)) * levels).astype(np.float32)
    for isa in instruction_sets():
        found = Program(plan, True, isa).maps(torch.full((1, 1, 3, 3), 1e6))[3][1]
        assert np.array_equal(found[0, 1, 1].numpy(), expected), isa


@pytest.mark.parametrize("least", [-127, -128])
def test_a_byte_has_no_smallest_number(least: int) -> None:
    weight = np.full((3, CHANNELS, 3, 3), least, dtype=np.int8)
    if least == -127:
        check_plan(worst_plan(weight, "rows", 1))
    else:
        with pytest.raises(
            InputError, match=r"a weight of -128; those of 8 bits lie in -127\.\.127"
        ):
            check_plan(worst_plan(weight, "rows", 1))


def test_the_check_of_plans_knows_the_bound() -> None:
    weight, sums = largest_sums("dense")
    spare = (LIMIT32 - int(np.abs(sums[0]))) // LEVELS
    for more, fits in ((spare, True), (spare + 1, False)):
        edge = weight.copy()
        each = np.minimum(LIMIT16 - edge[0].reshape(-1), more)
        edge[0].reshape(-1)[:] += np.diff(
            np.minimum(np.cumsum(each, dtype=np.int64), more), prepend=0
        ).astype(np.int16)
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


@pytest.mark.parametrize("levels", [254, 255])
def test_the_check_of_plans_follows_the_counts(levels: int) -> None:
    plan = worst_plan(largest_sums("dense")[0], "dense")
    maps = list(plan.maps)
    maps[2] = dataclasses.replace(maps[2], levels=levels)
    plan = dataclasses.replace(plan, maps=tuple(maps))
    if levels == 255:
        check_plan(plan)
    else:
        with pytest.raises(InputError, match=r"map 2 counts to 254 of 1\.0 each, expected 255"):
            check_plan(plan)


def test_lowering_takes_the_levels_of_the_neuron() -> None:
    network = nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 1),
        IntegerNeuron(LEVELS),
        nn.Conv2d(CHANNELS, 2, 3, padding=1),
    )
    with torch.no_grad():
        network[2].weight.fill_(0.5)
    plan = lower(network.eval(), torch.rand(1, CHANNELS, 5, 5)).plan(16)
    layer = [found for found in plan.operations if isinstance(found, WeightLayer)][-1]
    largest = int(np.abs(layer.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max()) * LEVELS
    assert plan.maps[layer.source].levels == LEVELS and 0.99 * LIMIT32 < largest <= LIMIT32
    assert layer.scale[0] * layer.weight[0, 0, 0, 0] == pytest.approx(0.5 / LEVELS, rel=1e-3)
