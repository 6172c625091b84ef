"""Neurons of the twin against the readable ones, to the bit, and attention against plain torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikedriven.engine.program import Fire, LinearAttention, MaskedAttention, Plan
from spikedriven.engine.twin import _Run
from spikedriven.kernels.spec import IntegerSpec, LIFSpec
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
    run = _Run(Plan(T, (), (operation,), (), ()), [])
    run.maps = dict(enumerate(inputs))
    run.do(operation)
    return run.maps


def real(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def counts(levels: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, levels + 1, size=shape).astype(np.uint8)


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
    real = computed(LinearAttention(0, 1, 2, 3, heads, 0.0078125), q, k, v)[3]
    assert np.array_equal(real, products.numpy())  # exact: whole numbers times a power of two
