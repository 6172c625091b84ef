"""Each operation of the twin against plain torch in float64, on small maps; neurons against the readable ones."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikedriven.engine.program import (
    Fire,
    Head,
    Image,
    IntegerSpec,
    LIFSpec,
    LinearAttention,
    Map,
    MaskedAttention,
    Plan,
    Pool,
    SpaceMean,
    Sum,
    TimeMean,
    WeightLayer,
)
from spikedriven.engine.twin import _Run
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.integer import integer_spike_naive
from spikedriven.neurons.naive import lif_naive
from tests.engine.nets import LIF_SPEC

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state
T = 3


@pytest.fixture(autouse=True)
def _seed_numbers() -> None:
    """The same numbers for a test, whatever ran before it."""
    RNG.bit_generator.state = START


def computed(operation: object, *inputs: np.ndarray) -> dict[int, np.ndarray]:
    """Maps after one operation on maps 0, 1, ... of these values."""
    plan = Plan(T, False, (Map("real", 1, 1, 1, 1),), (Image(0), operation), 0, "vector")
    run = _Run(plan, np.zeros((1, 1, 1, 1), dtype=np.float32))
    run.maps = dict(enumerate(inputs))
    run.do(operation)
    return run.maps


def real(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def counts(levels: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, levels + 1, size=shape).astype(np.uint8)


def images(maps: np.ndarray) -> Tensor:
    """[steps, H, W, C] -> float64 [steps, C, H, W]."""
    return torch.from_numpy(maps.astype(np.float64)).permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


def layer(mode: str, inputs: int, outputs: int, kernel: int = 3, **values: object) -> WeightLayer:
    shape = (outputs, 1 if mode == "depthwise" else inputs, kernel, kernel)
    weight = (
        real(*shape)
        if mode == "float"
        else RNG.integers(-30000, 30000, size=shape).astype(np.int16)
    )
    scale = (
        np.ones(outputs, dtype=np.float32)
        if mode == "float"
        else np.abs(real(outputs)) * np.float32(1e-5)
    )
    return WeightLayer(0, weight, scale, real(outputs), mode=mode, **values)


def expected_layer(made: WeightLayer, source: np.ndarray) -> np.ndarray:
    groups = source.shape[-1] if made.mode == "depthwise" else 1
    weight = torch.from_numpy(made.weight.astype(np.float64)) * torch.from_numpy(
        made.scale
    ).reshape(-1, 1, 1, 1)
    bias = torch.from_numpy(made.bias.astype(np.float64))
    return channels_last(F.conv2d(images(source), weight, bias, made.step, made.pad, 1, groups))


@pytest.mark.parametrize(
    ("kernel", "step", "pad"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (2, 2, 0), (3, 1, 2)]
)
@pytest.mark.parametrize("mode", ["rows", "dense", "depthwise", "float"])
def test_weight_layers(mode: str, kernel: int, step: int, pad: int) -> None:
    source = real(2, 7, 8, 5) if mode == "float" else counts(4, 2, 7, 8, 5)
    made = layer(
        mode, 5, 5 if mode == "depthwise" else 6, kernel, step=step, pad=pad, levels=4, real=1
    )
    np.testing.assert_allclose(
        computed(made, source)[1], expected_layer(made, source), rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize(("source_steps", "residual_steps"), [(1, 1), (1, T), (T, 1), (T, T)])
def test_residual_and_neuron_of_a_weight_layer(source_steps: int, residual_steps: int) -> None:
    source, residual = counts(1, source_steps, 4, 5, 6), real(residual_steps, 4, 5, 7)
    made = layer("rows", 6, 7, 1, residual=1, real=2, spikes=3, neuron=LIF_SPEC)
    maps = computed(made, source, residual)
    np.testing.assert_allclose(
        maps[2], expected_layer(made, source) + residual, rtol=1e-5, atol=1e-5
    )
    assert maps[2].shape == (max(source_steps, residual_steps), 4, 5, 7)
    again = computed(Fire(2, 3, LIF_SPEC), source, residual, maps[2])
    assert np.array_equal(maps[3], again[3]) and 0 < maps[3].mean() < 1


@pytest.mark.parametrize("tau", [2.0, 1.5])
@pytest.mark.parametrize("v_reset", [0.0, -0.25, None])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("parametric", [True, False])
def test_lif_is_the_readable_neuron_to_the_bit(
    tau: float, v_reset: float | None, decay_input: bool, parametric: bool
) -> None:
    options = LIFOptions(tau=tau, v_threshold=0.75, v_reset=v_reset, decay_input=decay_input)
    w = torch.tensor(0.3) if parametric else None
    leak = tau if w is None else torch.sigmoid(w).item()
    x = real(T, 8, 8, 32) * 2
    x.reshape(-1)[:50] = 0.75 * leak  # at the threshold
    spec = LIFSpec(
        float(np.float32(leak)),
        0.75,
        float(options.rest),
        v_reset is not None,
        decay_input,
        parametric,
    )
    expected = lif_naive(torch.from_numpy(x), w=w, options=options)[0]
    found = computed(Fire(0, 1, spec), x)[1]
    assert np.array_equal(found, expected.numpy()) and 0.05 < found.mean() < 0.6


def test_lif_repeats_an_input_of_one_step() -> None:
    x = real(1, 4, 4, 8) + 1
    expected = lif_naive(torch.from_numpy(x).expand(T, -1, -1, -1))[0]
    assert np.array_equal(computed(Fire(0, 1, LIF_SPEC), x)[1], expected.numpy()) and expected.any()


@pytest.mark.parametrize("rounding", ["half_even", "half_up"])
@pytest.mark.parametrize("levels", [1, 4, 8, 255])
def test_integer_neurons_are_the_readable_ones_to_the_bit(levels: int, rounding: str) -> None:
    halves = np.arange(-4, 2 * levels + 6, dtype=np.float32) / 2
    near = np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))
    x = np.concatenate([halves, *near, real(100) * levels]).reshape(1, 1, 1, -1)
    expected = integer_spike_naive(torch.from_numpy(x), levels, 1.0, rounding, "strict")
    found = computed(Fire(0, 1, IntegerSpec(levels, rounding == "half_up")), x)[1]
    assert (
        found.dtype == np.uint8
        and np.array_equal(found, expected.numpy())
        and found.max() == levels
    )


@pytest.mark.parametrize(("kernel", "step", "pad"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_pool(kind: str, kernel: int, step: int, pad: int) -> None:
    source = real(2, 7, 6, 5) - 3 if kind == "real" else counts(8, 2, 7, 6, 5)
    found = computed(Pool(0, 1, kernel, step, pad), source)[1]
    assert np.array_equal(found, channels_last(F.max_pool2d(images(source), kernel, step, pad)))
    assert found.dtype == source.dtype


def test_masked_attention() -> None:
    q, k, v = (counts(1, T, 4, 4, 6) for _ in range(3))
    sums = (k * v).astype(np.float32).sum(axis=(1, 2), keepdims=True)
    spec = LIFSpec(2.0, 2.0, 0.0, True, True, False)
    mask = lif_naive(torch.from_numpy(sums), options=LIFOptions(v_threshold=2.0))[0].numpy()
    found = computed(MaskedAttention(0, 1, 2, 3, 0, spec), q, k, v)[3]
    assert np.array_equal(found, q * mask) and 0 < mask.mean() < 1


def test_pooled_masked_attention() -> None:
    heads, head = 2, 4
    q, k, v = (RNG.random((T, 3, 4, heads * head)) < 0.2 for _ in range(3))
    spec = LIFSpec(2.0, 4.0, 0.0, True, True, False)

    def planes(x: np.ndarray) -> Tensor:  # [T, heads, positions, channels of a head]
        return torch.from_numpy(x.reshape(T, 12, heads, head).swapaxes(1, 2).astype(np.float32))

    pooled = F.max_pool2d(planes(k & v), 3, 1, 1)
    mask = lif_naive(pooled.sum(dim=2, keepdim=True), options=LIFOptions(v_threshold=4.0))[0]
    expected = F.max_pool2d(planes(q) * mask, 3, 1, 1)
    found = computed(
        MaskedAttention(0, 1, 2, 3, heads, spec), *(x.astype(np.uint8) for x in (q, k, v))
    )[3]
    assert torch.equal(planes(found), expected) and 0 < mask.mean() < 1


@pytest.mark.parametrize(("heads", "channels_v"), [(1, 8), (4, 8), (4, 16)])
def test_linear_attention(heads: int, channels_v: int) -> None:
    q, k, v = counts(4, 2, 3, 4, 8), counts(4, 2, 3, 4, 8), counts(4, 2, 3, 4, channels_v)
    parts = [torch.from_numpy(x.astype(np.float64)).reshape(2, 12, heads, -1) for x in (q, k, v)]
    products = torch.einsum("tphi,tmhi,tmhj->tphj", *parts).reshape(2, 3, 4, channels_v) * 0.0078125
    expected = integer_spike_naive(products.float(), 8, 1.0, "half_even", "strict")
    found = computed(LinearAttention(0, 1, 2, 3, heads, 0.0078125, IntegerSpec(8, False)), q, k, v)[
        3
    ]
    assert np.array_equal(found, expected.numpy()) and len(np.unique(found)) > 2


def test_means() -> None:
    source = real(T, 5, 6, 7)
    close = {"rtol": 1e-5, "atol": 1e-6}
    mean = source.astype(np.float64).mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(computed(SpaceMean(0, 1), source)[1], mean, **close)
    mean = source.astype(np.float64).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(computed(TimeMean(0, 1), source)[1], mean, **close)


@pytest.mark.parametrize("kind", ["real", "spikes"])
def test_head(kind: str) -> None:
    source = real(T, 1, 1, 40) if kind == "real" else counts(4, T, 1, 1, 40)
    weight, bias = real(10, 40), real(10)
    unit = 1.0 if kind == "real" else 0.25
    expected = (source.astype(np.float64) * unit)[:, 0, 0] @ weight.T.astype(np.float64) + bias
    found = computed(Head(0, 1, weight, bias, 0.25), source)[1]
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-5, atol=1e-5)
    assert found.shape == (T, 1, 1, 10)


@pytest.mark.parametrize(("a", "b"), [(T, T), (1, T), (T, 1)])
def test_sum(a: int, b: int) -> None:
    x, y = real(a, 2, 3, 4), real(b, 2, 3, 4)
    assert np.array_equal(computed(Sum(0, 1, 2, 0.5), x, y)[2], (x + y) * np.float32(0.5))


def test_image_is_turned_channels_last() -> None:
    plan = Plan(1, False, (Map("real", 1, 2, 3, 4),), (Image(0),), 0, "map")
    sample = real(1, 4, 2, 3)
    run = _Run(plan, sample)
    run.do(plan.operations[0])
    assert np.array_equal(run.maps[0], channels_last(torch.from_numpy(sample)))
