"""The compiled max pool of training against PyTorch's: values, gradients, what is kept."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spikedriven.kernels import extension
from spikedriven.kernels.pool import max_pool, spatial_mean
from spikedriven.layers import MaxPool, halving_pool

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)

WINDOWS = [(3, 2, 1), (3, 1, 1), (2, 2, 0), (2, 3, 1), (5, 2, 2), (15, 4, 7), (1, 2, 0)]
SHAPES = [(2, 16, 8, 8), (3, 40, 15, 18), (1, 5, 15, 16), (2, 33, 20, 17)]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def spikes(*shape, seed=0):
    return channels_last(
        (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.2).float()
    )


def reals(*shape, seed=0):
    return channels_last(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul(4).round()
    )


def is_ours(out):
    return type(out.grad_fn).__name__ == "_MaxPoolBackward"


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_equals_pytorchs_in_values_and_gradients(window, instruction_set):
    """Whole numbers with many ties: the gradient shows which of equal values was taken, and
    sums are exact.
    """
    for shape, source in product(SHAPES, (spikes, reals)):
        check_equal(nn.MaxPool2d(*window), window, shape, source)


def check_equal(pool, window, shape, source):
    results = []
    for function in (lambda x: max_pool(x, pool), lambda x: F.max_pool2d(x, *window)):
        x = source(*shape).requires_grad_()
        out = function(x)
        out.backward(reals(*out.shape, seed=1))
        results.append((out, x.grad))
    (out, grad), (expected, reference) = results
    assert is_ours(out) and torch.equal(out, expected) and torch.equal(grad, reference)
    assert grad.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_adds_in_float32():
    x = spikes(2, 24, 9, 9).bfloat16().requires_grad_()
    out = max_pool(x, halving_pool())
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    out.backward(upstream)
    twin = x.detach().float().requires_grad_()
    F.max_pool2d(twin, 3, 2, 1).backward(upstream.float())
    assert is_ours(out) and torch.equal(out, F.max_pool2d(x, 3, 2, 1))
    assert torch.equal(x.grad, twin.grad.bfloat16())


def test_what_is_no_number_stays_so():
    x = reals(1, 16, 6, 6)
    x[0, 3, 2, 2] = torch.nan
    x[0, 5] = -torch.inf
    out = max_pool(x.requires_grad_(), halving_pool())
    assert (
        torch.equal(out.isnan(), F.max_pool2d(x, 3, 2, 1).isnan()) and int(out.isnan().sum()) == 1
    )
    assert (out[0, 5] == -torch.inf).all()


def test_a_byte_is_kept_for_each_output_and_nothing_else():
    kept = []
    pool = halving_pool()
    x = spikes(4, 32, 8, 8).unflatten(0, (2, 2)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = pool(x)
    assert sum(t.numel() * t.element_size() for t in kept) == out.numel()


@pytest.mark.parametrize(
    "why", ["evaluation", "no_grad", "contiguous", "float64", "dilation", "pair", "large"]
)
def test_elsewhere_it_is_pytorchs(why):
    options = {
        "dilation": {"dilation": 2},
        "pair": {"padding": (1, 0)},
        "large": {"kernel_size": 17},
    }.get(why, {})
    pool, x = MaxPool(**{"kernel_size": 3, "stride": 2} | options), reals(2, 8, 20, 20)
    if why == "evaluation":
        pool.eval()
    elif why == "contiguous":
        x = x.contiguous()
    elif why == "float64":
        x = x.double()
    with torch.set_grad_enabled(why != "no_grad"):
        out = pool(x.unsqueeze(0).requires_grad_()).squeeze(0)
    assert torch.equal(out, nn.MaxPool2d(**{"kernel_size": 3, "stride": 2} | options)(x))
    assert not any(is_ours(t) for t in (out, max_pool(x, copy.copy(pool))) if why != "no_grad")


def test_a_window_larger_than_the_map_is_pytorchs_error():
    with pytest.raises(RuntimeError, match="Output size is too small"):
        max_pool(reals(1, 16, 2, 2).requires_grad_(), nn.MaxPool2d(5))


def per_channel_means(x, weight):
    """Values and gradient of both ways to take the mean over space."""
    found = []
    for mean in (spatial_mean, lambda y: y.mean(dim=(-2, -1))):
        given = x.detach().requires_grad_()
        value = mean(given)
        # not `backward`: what lies in `grad` has been laid out as its leaf
        found.append((value.detach(), *torch.autograd.grad(value, given, weight)))
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gradient_of_a_mean_over_space_lies_as_its_input_does(dtype):
    for x in (
        torch.randn(2, 3, 5, 4, 6),
        channels_last(torch.randn(6, 5, 4, 6)).view(2, 3, 5, 4, 6),
    ):
        (ours, gradient), (plain, expected) = per_channel_means(
            x.to(dtype), torch.randn(2, 3, 5).to(dtype)
        )
        assert torch.equal(ours, plain) and torch.equal(gradient, expected)
        assert gradient.stride() == x.stride()
