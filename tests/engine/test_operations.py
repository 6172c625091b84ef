"""Every operation of a plan on random shapes: the twin against plain torch, the compiled engine
against the twin.

Torch computes in float64 where the operation rounds; integers and places are compared bit for bit.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikedriven.engine import Program, windows
from spikedriven.engine.program import (
    Affine,
    Concat,
    Constant,
    Fire,
    Head,
    LinearAttention,
    MaskedAttention,
    Pick,
    Pool,
    Product,
    Quotient,
    Rearrange,
    Relu,
    Resize,
    Sum,
    TimeMean,
    WeightLayer,
    integer_mode,
    rows_fit,
)
from spikedriven.engine.scales import as_scale, quantized
from spikedriven.kernels.extension import available, instruction_sets
from spikedriven.kernels.spec import IntegerSpec, LIFSpec
from tests.engine.plans import (
    LIF,
    Sketch,
    assert_native_is_twin,
    assert_steps_are_the_whole,
    through_a_file,
)

SEEDS = range(6)
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


def images(maps: Tensor, unit: float = 1.0) -> Tensor:
    """[steps, H, W, C] -> float64 [steps, C, H, W]."""
    return maps.double().permute(0, 3, 1, 2) * unit


def channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def size_of(rng: np.random.Generator, most: int = 9, channels: int = 70) -> tuple[int, int, int]:
    height, width = (int(x) for x in rng.integers(1, most, size=2))
    return height, width, int(rng.integers(1, channels))


def checked(sketch: Sketch, *outputs: int) -> list[Tensor]:
    """The maps of the twin of the plan as a file holds it, after the compiled engine and a
    stream gave the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = through_a_file(sketch.plan(*outputs), Path(folder))
    inputs = sketch.example(plan)
    twin = assert_native_is_twin(plan, inputs)
    try:
        assert_steps_are_the_whole(plan, inputs, native=available())
    except Exception as error:
        assert "picks steps" in str(error) or "joins maps along time" in str(error), error
    return twin


# Weight layers
# --------------------------------------------------------------------------------------------------


def drawn_layer(sketch: Sketch, mode: str, source: int, plain: bool = False) -> WeightLayer:
    """A layer of any window that reads a map; its groups divide the channels. plain: one filter
    each, side by side.
    """
    rng, m = sketch.rng, sketch.maps[source]
    kernel = [
        int(rng.integers(1, min(4, 1 + size))) if plain else int(rng.integers(1, 4))
        for size in (m.height, m.width)
    ]
    stride, dilation, spread = (
        [int(x) for x in rng.integers(1, most, size=2)] for most in (4, 3, 3)
    )
    if plain:
        dilation = spread = [1, 1]
    divisors = [g for g in range(1, m.channels + 1) if m.channels % g == 0]
    groups = (
        m.channels if plain else int(rng.choice(divisors)) if mode in ("grouped", "float") else 1
    )
    outputs = groups * (
        1 if plain else int(rng.integers(1, 5)) if groups > 1 else int(rng.integers(1, 80))
    )
    padding = [int(x) for x in rng.integers(0, 4, size=4)]
    for axis, size in enumerate((m.height, m.width)):  # the window fits
        short = (
            dilation[axis] * (kernel[axis] - 1)
            + 1
            - ((size - 1) * spread[axis] + 1 + padding[axis] + padding[axis + 2])
        )
        padding[axis] += max(short, 0)
    shape = (outputs, m.channels // groups, *kernel)
    weight, scale = rng.normal(size=shape), np.ones(outputs, dtype=np.float32)
    if mode != "float":
        bits = int(rng.choice([2, 4, 6, 7, 8, 8, 16]))
        weight, step = quantized(weight, m.levels, bits)
        scale = as_scale(step, m.unit)
    else:
        weight = weight.astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    return WeightLayer(
        source,
        weight,
        scale,
        bias,
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        tuple(spread),
        groups,
        mode,
    )


def add_layer(sketch: Sketch, layer: WeightLayer, fires: object = None) -> tuple[WeightLayer, int]:
    """With the maps that it writes: real values, and spikes where it has a neuron."""
    m = sketch.maps[layer.source]
    size = [
        windows.reached(
            size,
            layer.weight.shape[2 + i],
            layer.stride[i],
            (layer.padding[i], layer.padding[i + 2]),
            layer.dilation[i],
            layer.spread[i],
        )
        for i, size in enumerate((m.height, m.width))
    ]
    out = sketch.map("real", m.steps, *size, len(layer.weight))
    layer = replace(layer, real=out)
    if fires is not None:
        steps = sketch.steps if fires is LIF else m.steps
        spikes = sketch.map(
            "spikes", steps, *size, len(layer.weight), levels=getattr(fires, "levels", 1)
        )
        layer = replace(layer, spikes=spikes, neuron=fires)
    sketch.operations.append(layer)
    return layer, out


def expected_layer(layer: WeightLayer, source: Tensor, unit: float) -> Tensor:
    """In float64, a transposed convolution where the input is spread."""
    x = images(source, unit)
    wide = x.new_zeros(
        len(x),
        x.shape[1],
        (x.shape[2] - 1) * layer.spread[0] + 1,
        (x.shape[3] - 1) * layer.spread[1] + 1,
    )
    wide[:, :, :: layer.spread[0], :: layer.spread[1]] = x
    top, left, bottom, right = layer.padding
    weight = torch.from_numpy(layer.weight).double()
    if layer.mode != "float":
        weight = weight * torch.from_numpy(layer.scale).double().reshape(-1, 1, 1, 1) / unit
    bias = torch.from_numpy(layer.bias).double()
    padded = F.pad(wide, (left, right, top, bottom))
    return channels_last(
        F.conv2d(padded, weight, bias, layer.stride, 0, layer.dilation, layer.groups)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("levels", [1, 4, 100])
@pytest.mark.parametrize("mode", ["rows", "dense", "grouped", "float"])
def test_weight_layers(mode: str, levels: int, seed: int) -> None:
    sketch = Sketch(seed)
    source = sketch.counts(
        levels, *size_of(sketch.rng, 7, 40), steps=int(sketch.rng.integers(1, 3)), unit=0.25
    )
    m = sketch.maps[source]
    layer = drawn_layer(sketch, mode, source, plain=mode == "grouped" and seed % 2 == 0)
    if mode == "rows" and not rows_fit(m, layer.weight[0, 0].size):
        return  # that mode takes no such counts
    layer, out = add_layer(sketch, layer, LIF if seed % 3 == 0 else IntegerSpec(4, True))
    maps = checked(sketch, out, layer.spikes)
    torch.testing.assert_close(
        maps[out].double(), expected_layer(layer, maps[source], 0.25), **CLOSE
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_float_layers_on_real_values(seed: int) -> None:
    sketch = Sketch(seed)
    source = sketch.real(*size_of(sketch.rng, 7, 40), steps=1 + seed % 2)
    layer, out = add_layer(sketch, drawn_layer(sketch, "float", source, plain=seed % 3 == 0), LIF)
    maps = checked(sketch, out, layer.spikes)
    torch.testing.assert_close(
        maps[out].double(), expected_layer(layer, maps[source], 1.0), **CLOSE
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [(2, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1), (3, 1, 0, 0)],
)
@pytest.mark.parametrize("levels", [1, 4])
def test_transposed_convolutions(
    levels: int, kernel: int, stride: int, padding: int, extra: int
) -> None:
    sketch = Sketch(0)
    source = sketch.counts(levels, 4, 5, 6)
    weight = torch.randn(
        6, 7, kernel, kernel, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    turned = weight.flip(2, 3).transpose(0, 1).numpy()
    integers, step = quantized(turned, levels, 16)
    around = kernel - 1 - padding
    pads = (around, around, around + extra, around + extra)
    mode = integer_mode(sketch.maps[source], kernel * kernel, 1)
    made = WeightLayer(
        source,
        integers,
        as_scale(step, 1.0),
        np.zeros(7, "f4"),
        padding=pads,
        spread=(stride, stride),
        mode=mode,
    )
    out = add_layer(sketch, made)[1]
    maps = checked(sketch, out)
    exact = torch.from_numpy(integers * step.reshape(-1, 1, 1, 1)).transpose(0, 1).flip(2, 3)
    expected = F.conv_transpose2d(images(maps[source]), exact, None, stride, padding, extra)
    torch.testing.assert_close(maps[out].double(), channels_last(expected), **CLOSE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1)])
def test_a_residual_before_the_neuron(shape: tuple[int, int]) -> None:
    sketch = Sketch(1)
    source, residual = (
        sketch.counts(4, 3, 4, 9, steps=shape[0]),
        sketch.real(3, 4, 8, steps=shape[1]),
    )
    weight, step = quantized(sketch.rng.normal(size=(8, 9, 1, 1)), 4)
    bias = np.zeros(8, dtype=np.float32)
    out = sketch.map("real", max(shape), 3, 4, 8)
    spikes = sketch.map("spikes", 2, 3, 4, 8)
    layer = WeightLayer(
        source,
        weight,
        as_scale(step, 1.0),
        bias,
        mode="dense",
        residual=residual,
        real=out,
        spikes=spikes,
        neuron=LIF,
    )
    sketch.operations.append(layer)
    maps = checked(sketch, out, spikes)
    plain = expected_layer(replace(layer, residual=None), maps[source], 1.0)
    torch.testing.assert_close(maps[out].double(), plain + maps[residual].double(), **CLOSE)


# Pools
# --------------------------------------------------------------------------------------------------


def pooled(sketch: Sketch, source: int, rows: np.ndarray, columns: np.ndarray, how: str) -> int:
    m = sketch.maps[source]
    kind = m.kind if how == "max" else "real"
    held = {"levels": m.levels, "unit": m.unit} if kind == "spikes" else {}
    out = sketch.map(kind, m.steps, len(rows), len(columns), m.channels, **held)
    sketch.operations.append(Pool(source, out, rows, columns, how))
    return out


def source_of(sketch: Sketch, kind: str, *size: int) -> int:
    return (
        sketch.real(*size, steps=2)
        if kind == "real"
        else sketch.counts(4, *size, steps=2, unit=0.5)
    )


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 3, 0), (5, 1, 2), (2, 3, 1)]
)
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_sliding_pools(
    kind: str, kernel: int, stride: int, padding: int, include: bool, ceil_mode: bool
) -> None:
    sketch = Sketch(kernel)
    source = source_of(sketch, kind, 8, 11, 37)
    unit = sketch.maps[source].unit
    rows, columns = (
        windows.sliding(size, kernel, stride, padding, ceil_mode, include) for size in (8, 11)
    )
    largest, mean = (pooled(sketch, source, rows, columns, how) for how in ("max", "mean"))
    maps = checked(sketch, largest, mean)
    expected = F.max_pool2d(images(maps[source]), kernel, stride, padding, ceil_mode=ceil_mode)
    assert torch.equal(maps[largest].double(), channels_last(expected))
    expected = F.avg_pool2d(images(maps[source], unit), kernel, stride, padding, ceil_mode, include)
    torch.testing.assert_close(maps[mean].double(), channels_last(expected), **CLOSE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (8, 11), (9, 2)])
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_adaptive_pools_and_sums(kind: str, height: int, width: int) -> None:
    sketch = Sketch(height)
    source = source_of(sketch, kind, 8, 11, 20)
    unit = sketch.maps[source].unit
    rows, columns = windows.adaptive(8, height), windows.adaptive(11, width)
    largest, mean = (pooled(sketch, source, rows, columns, how) for how in ("max", "mean"))
    total = pooled(sketch, source, windows.summed(8), windows.summed(11), "mean")
    maps = checked(sketch, largest, mean, total)
    x = images(maps[source])
    assert torch.equal(
        maps[largest].double(), channels_last(F.adaptive_max_pool2d(x, (height, width)))
    )
    expected = channels_last(F.adaptive_avg_pool2d(x * unit, (height, width)))
    torch.testing.assert_close(maps[mean].double(), expected, **CLOSE)
    torch.testing.assert_close(
        maps[total].double(), channels_last(x.sum((2, 3), keepdim=True) * unit), **CLOSE
    )


@pytest.mark.filterwarnings("ignore:.*encountered in divide")
@pytest.mark.parametrize("seed", range(4))
def test_the_largest_is_the_same_bits_with_nan_and_zeros_of_both_signs(seed: int) -> None:
    sketch = Sketch(seed)
    size = (6, 7, (5, 40)[seed % 2])
    a, b = sketch.real(*size), sketch.real(*size)
    ratio, pooled = sketch.map("real", 1, *size), sketch.map("real", 1, 3, 6, size[2])
    sketch.operations.append(Quotient(a, b, ratio))
    sketch.operations.append(
        Pool(ratio, pooled, windows.sliding(6, 3, 2, 1), windows.sliding(7, 2, 1), "max")
    )
    plan = sketch.plan(pooled)
    small = [
        torch.from_numpy(np.round(0.8 * sketch.rng.normal(size=(1, *size))).astype(np.float32))
        for _ in range(2)
    ]
    signs = [
        torch.from_numpy(sketch.rng.choice([-1.0, 1.0], size=x.shape).astype(np.float32))
        for x in small
    ]
    inputs = [x * sign for x, sign in zip(small, signs, strict=True)]
    inputs[1] = torch.where(inputs[0].abs() > 1, inputs[1], inputs[1] + 2)  # few NaN, many zeros
    expected = Program(plan, native=False)(*inputs)
    assert (
        expected.isnan().any()
        and not expected.isnan().all()
        and (expected.view(torch.int32) == -(2**31)).any()
    )
    for isa in instruction_sets() if available() else []:
        found = Program(plan, True, isa)(*inputs)
        equal = found.view(torch.int32) == expected.view(torch.int32)
        assert (equal | (found.isnan() & expected.isnan())).all(), isa


def test_nan_stays_in_pools_and_relu() -> None:
    sketch = Sketch(0)
    a, b = sketch.real(4, 4, 33), sketch.real(1, 1, 1)
    ratio = sketch.map("real", 1, 4, 4, 33)
    sketch.operations.append(Quotient(a, b, ratio))
    rows = windows.sliding(4, 3, 2, 1)
    outputs = [pooled(sketch, ratio, rows, rows, how) for how in ("max", "mean")]
    relu = sketch.map("real", 1, 4, 4, 33)
    sketch.operations.append(Relu(ratio, relu))
    plan = sketch.plan(*outputs, relu)
    x, zero = sketch.example(plan)
    x[0, 2, 1, ::5] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        maps = assert_native_is_twin(plan, [x, zero * 0])
    assert maps[relu].isnan().sum() == 7 and (maps[relu] == torch.inf).any()
    assert torch.equal(
        maps[outputs[0]].isnan(), channels_last(F.max_pool2d(images(maps[ratio]), 3, 2, 1)).isnan()
    )
    assert maps[outputs[0]].isnan().any() and maps[outputs[1]].isnan().any()


# Values
# --------------------------------------------------------------------------------------------------


SHAPES = [
    ((4, 5, 12), (4, 5, 12)),
    ((4, 5, 12), (1, 1, 12)),
    ((1, 5, 1), (4, 1, 12)),
    ((4, 5, 36), (4, 5, 3)),
    ((1, 1, 1), (4, 5, 40)),
]


@pytest.mark.parametrize("steps", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("kinds", [("real", "real"), ("real", "spikes"), ("spikes", "spikes")])
def test_pairs(kinds: tuple[str, str], a: tuple, b: tuple, steps: tuple[int, int]) -> None:
    sketch = Sketch(len(kinds[0]) + steps[0])
    operands = [
        sketch.real(*size, steps=n)
        if kind == "real"
        else sketch.counts(3, *size, steps=n, unit=0.5)
        for kind, size, n in zip(kinds, (a, b), steps, strict=True)
    ]
    shape = (max(steps), *(max(pair) for pair in zip(a, b, strict=True)))
    outputs = [sketch.map("real", *shape) for _ in range(2)]
    sketch.operations += [Sum(*operands, outputs[0], 0.5), Product(*operands, outputs[1])]
    if kinds == ("spikes", "spikes"):
        outputs += [
            sketch.map("spikes", *shape, levels=6, unit=0.5),
            sketch.map("spikes", *shape, levels=9, unit=0.25),
        ]
        sketch.operations += [Sum(*operands, outputs[2]), Product(*operands, outputs[3])]
    if kinds == ("real", "real"):
        outputs.append(sketch.map("real", *shape))
        sketch.operations.append(Quotient(*operands, outputs[2]))
    maps = checked(sketch, *outputs)
    x, y = (maps[i].float() * sketch.maps[i].unit for i in operands)
    x, y = (v.repeat_interleave(shape[3] // v.shape[3], dim=3).expand(shape) for v in (x, y))
    expected = [(x + y) * 0.5, x * y]
    if kinds == ("spikes", "spikes"):
        expected += [(x + y) / 0.5, x * y / 0.25]
    if kinds == ("real", "real"):
        expected.append(x / y)
    for index, value in zip(outputs, expected, strict=True):
        assert torch.equal(maps[index].float(), value)


@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_affine_relu_and_constant(kind: str) -> None:
    sketch = Sketch(0)
    source = source_of(sketch, kind, 4, 5, 35)
    scale, shift = (sketch.rng.normal(size=35).astype(np.float32) for _ in range(2))
    affine, relu, total = (sketch.map("real", 2, 4, 5, 35) for _ in range(3))
    constant = sketch.map("real", 1, 4, 5, 35)
    value = sketch.rng.normal(size=(4, 5, 35)).astype(np.float32)
    sketch.operations += [
        Affine(source, affine, scale, shift),
        Relu(affine, relu),
        Constant(constant, value),
    ]
    sketch.operations.append(Sum(relu, constant, total))
    maps = checked(sketch, affine, relu, total)
    expected = maps[source].float() * sketch.maps[source].unit * torch.from_numpy(
        scale
    ) + torch.from_numpy(shift)
    assert torch.equal(maps[affine], expected) and torch.equal(maps[relu], expected.relu())
    assert (
        torch.equal(maps[total], expected.relu() + torch.from_numpy(value))
        and (maps[relu] == 0).any()
    )


@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_a_classifier_and_means_over_time(kind: str) -> None:
    sketch = Sketch(0)
    source = source_of(sketch, kind, 1, 1, 40)
    weight, bias = (
        sketch.rng.normal(size=(10, 40)).astype(np.float32),
        sketch.rng.normal(size=10).astype(np.float32),
    )
    logits, mean = sketch.map("real", 2, 1, 1, 10), sketch.map("real", 1, 1, 1, 10)
    again = sketch.map("real", 1, 1, 1, 10)
    sketch.operations += [
        Head(source, logits, weight, bias),
        TimeMean(logits, mean),
        Relu(mean, again),
    ]
    maps = checked(sketch, logits, again)
    x = maps[source][:, 0, 0].double() * sketch.maps[source].unit
    expected = x @ torch.from_numpy(weight).double().T + torch.from_numpy(bias)
    torch.testing.assert_close(maps[logits][:, 0, 0].double(), expected, **CLOSE)
    torch.testing.assert_close(maps[mean][0, 0, 0].double(), expected.mean(0), **CLOSE)


# Places
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_picks(kind: str, seed: int) -> None:
    sketch = Sketch(seed)
    size = size_of(sketch.rng)
    source = source_of(sketch, kind, *size)
    m = sketch.maps[source]
    rows, columns, channels = (
        sketch.rng.integers(0, n, size=sketch.rng.integers(1, 9)).astype(np.int32) for n in size
    )
    if seed % 2:
        channels = np.arange(size[2] // 2, size[2], dtype=np.int32)
    steps = np.array([[0, 1], [1], [0]][seed % 3], dtype=np.int32)
    out = sketch.map(
        kind, len(steps), len(rows), len(columns), len(channels), levels=m.levels, unit=m.unit
    )
    sketch.operations.append(Pick(source, out, steps, rows, columns, channels))
    maps = checked(sketch, out)
    assert torch.equal(maps[out], maps[source][steps][:, rows][:, :, columns][..., channels])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_exchanged_axes(kind: str, seed: int) -> None:
    sketch = Sketch(seed)
    height, width, channels = size_of(sketch.rng)
    source = source_of(sketch, kind, height, width, channels)
    m = sketch.maps[source]
    index = np.arange(height * width * channels, dtype=np.int32).reshape(height, width, channels)
    index = np.ascontiguousarray(index.transpose(2, 0, 1))  # channels become rows, columns channels
    out = sketch.map(kind, 2, *index.shape, levels=m.levels, unit=m.unit)
    sketch.operations.append(Rearrange(source, out, index))
    maps = checked(sketch, out)
    assert torch.equal(maps[out], maps[source].permute(0, 3, 1, 2))


@pytest.mark.parametrize("axis", ["steps", "height", "width", "channels"])
@pytest.mark.parametrize("kinds", [("real", "real"), ("real", "spikes"), ("spikes", "spikes")])
def test_joined_maps(kinds: tuple[str, str], axis: str) -> None:
    sketch = Sketch(2)
    sizes = [[4, 5, 33], [4, 5, 33]]
    if axis != "steps":
        sizes[1][["height", "width", "channels"].index(axis)] = 6
    steps = [1, 1] if axis == "steps" else [1, 2]
    parts = [
        sketch.real(*size, steps=n)
        if kind == "real"
        else sketch.counts(3, *size, steps=n, unit=0.5)
        for kind, size, n in zip(kinds, sizes, steps, strict=True)
    ]
    dim = ["steps", "height", "width", "channels"].index(axis)
    shape = [2, 4, 5, 33]
    if dim:
        shape[dim] = sum(size[dim - 1] for size in sizes)
    outputs = [sketch.map("real", *shape)]
    if kinds == ("spikes", "spikes"):
        outputs.append(sketch.map("spikes", *shape, levels=3, unit=0.5))
    sketch.operations += [Concat(tuple(parts), out, axis) for out in outputs]
    maps = checked(sketch, *outputs)
    values = [maps[i].float() * sketch.maps[i].unit for i in parts]
    values = [v.expand(1 if axis == "steps" else 2, *v.shape[1:]) for v in values]
    for out in outputs:
        assert torch.equal(maps[out].float() * sketch.maps[out].unit, torch.cat(values, dim))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("height", "width"), [(9, 15), (3, 2), (4, 5), (1, 1)])
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_resizing(kind: str, height: int, width: int, corners: bool) -> None:
    sketch = Sketch(0)
    source = source_of(sketch, kind, 4, 5, 34)
    m = sketch.maps[source]
    (rows, row_weights), (columns, column_weights) = (
        windows.linear(4, height, corners),
        windows.linear(5, width, corners),
    )
    out = sketch.map("real", 2, height, width, 34)
    sketch.operations.append(Resize(source, out, rows, columns, row_weights, column_weights))
    near = sketch.map(kind, 2, height, width, 34, levels=m.levels, unit=m.unit)
    every = [np.arange(n, dtype=np.int32) for n in (2, 34)]
    sketch.operations.append(
        Pick(
            source, near, every[0], windows.nearest(4, height), windows.nearest(5, width), every[1]
        )
    )
    maps = checked(sketch, out, near)
    x = images(maps[source], m.unit)
    expected = F.interpolate(x, (height, width), mode="bilinear", align_corners=corners)
    torch.testing.assert_close(maps[out].double(), channels_last(expected), **CLOSE)
    assert torch.equal(
        maps[near].double() * m.unit, channels_last(F.interpolate(x, (height, width)))
    )


# Neurons
# -----------------------------------------------------------------------------------------------


NEURONS = {
    "lif": LIF,
    "not a power of two": LIFSpec(1.7, 0.6, -0.1, True, False, False),
    "soft reset": LIFSpec(2.0, 0.75, 0.0, False, True, False),
    "parametric": LIFSpec(0.3, 0.5, 0.0, True, True, True),
    "integrate and fire": LIFSpec(0.0, 1.0, 0.0, False, False, True),
    "integer": IntegerSpec(8, False),
    "half up": IntegerSpec(3, True),
    "with a threshold": IntegerSpec(8, False, 0.3),
}


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name: str) -> None:
    neuron, sketch = NEURONS[name], Sketch(0, steps=4)
    source = sketch.real(3, 4, 37, steps=4)
    levels = neuron.levels if isinstance(neuron, IntegerSpec) else 1
    out = sketch.map("spikes", 4, 3, 4, 37, levels=levels)
    sketch.operations.append(Fire(source, out, neuron))
    maps = checked(sketch, out)
    assert 0 < maps[out].float().mean() < levels and maps[out].max() == levels
    if name == "with a threshold":
        assert torch.equal(maps[out].float(), (maps[source] / 0.3).clamp(0, 8).round())
    if name == "integrate and fire":
        v = torch.zeros(3, 4, 37)
        for x, fired in zip(maps[source], maps[out], strict=True):
            v = v + x
            assert torch.equal(fired.bool(), v >= 1)
            v = v - fired.float()


@pytest.mark.parametrize("add", ["fire", "masked", "pooled", "linear"])
def test_neurons_of_every_operation_stream(add: str) -> None:
    sketch = Sketch(3, steps=4)
    q, k, v = (sketch.spikes(3, 4, 8) for _ in range(3))
    out = sketch.map("spikes", 4, 3, 4, 8)
    low = replace(LIF, threshold=0.25)
    makes: dict[str, Callable[[], object]] = {
        "fire": lambda: Fire(0, out, low),
        "masked": lambda: MaskedAttention(q, k, v, out, 0, low),
        "pooled": lambda: MaskedAttention(q, k, v, out, 2, low),
        "linear": lambda: LinearAttention(q, k, v, out, 2, 0.25, low),
    }
    sketch.operations.append(makes[add]())
    maps = checked(sketch, out)
    assert 0 < maps[out].float().mean() < 1 and not torch.equal(maps[out][0], maps[out][3])
