"""The compiled depthwise convolution against PyTorch's: values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spikedriven.kernels import extension
from spikedriven.kernels.depthwise import DepthwiseConv2d, _Depthwise

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)


def channels_last(*shape, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 16, 8, 8), (3, 40, 7, 9), (1, 5, 1, 1), (9, 64, 3, 30)])
def test_equals_pytorch_in_values_and_gradients(shape, kernel, instruction_set):
    layer = DepthwiseConv2d(shape[1], kernel)
    x, upstream = channels_last(*shape).requires_grad_(), channels_last(*shape, seed=1)
    out = layer(x)
    assert type(out.grad_fn).__name__ == "_DepthwiseBackward"
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.backward(upstream)
    twin = x.detach().double().requires_grad_()
    weight = layer.weight.detach().double().requires_grad_()
    expected = F.conv2d(twin, weight, padding=kernel // 2, groups=shape[1])
    expected.backward(upstream.double())
    for actual, reference in (
        (out, expected),
        (x.grad, twin.grad),
        (layer.weight.grad, weight.grad),
    ):
        torch.testing.assert_close(actual.double(), reference, rtol=1e-5, atol=1e-5)


def test_whole_numbers_are_exact():
    """Sums of whole numbers have no rounding, so the order of additions cannot hide a wrong tap."""
    x = channels_last(2, 24, 6, 11).mul(3).round().requires_grad_()
    upstream = channels_last(2, 24, 6, 11, seed=1).mul(3).round()
    weight = channels_last(24, 1, 7, 7, seed=2).mul(3).round().requires_grad_()
    _Depthwise.apply(x, weight).backward(upstream)
    grads, x.grad, weight.grad = (x.grad, weight.grad), None, None
    F.conv2d(x, weight, padding=3, groups=24).backward(upstream)
    assert torch.equal(grads[0], x.grad) and torch.equal(grads[1], weight.grad)


def test_bfloat16_under_autocast(instruction_set):
    layer = DepthwiseConv2d(32, 7)
    x = channels_last(2, 32, 9, 9).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    expected = F.conv2d(x.detach().bfloat16().float(), layer.weight.detach(), padding=3, groups=32)
    torch.testing.assert_close(out.float(), expected, rtol=2**-8, atol=1e-3)
    assert x.grad.dtype == layer.weight.grad.dtype == torch.float32


def test_threads_change_nothing():
    before, found = torch.get_num_threads(), []
    x, upstream = channels_last(5, 48, 12, 12), channels_last(5, 48, 12, 12, seed=1)
    layer = DepthwiseConv2d(48, 7)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            layer.zero_grad()
            layer(x).backward(upstream)
            found.append(layer.weight.grad.clone())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("why", ["evaluation", "contiguous", "float64", "kernel"])
def test_elsewhere_it_is_pytorchs(why):
    layer = DepthwiseConv2d(8, 9 if why == "kernel" else 3)
    x = channels_last(2, 8, 5, 5)
    if why == "evaluation":
        layer.eval()
    elif why == "contiguous":
        x = x.contiguous()
    elif why == "float64":
        layer, x = layer.double(), x.double()
    out = layer(x)
    assert isinstance(layer, nn.Conv2d) and type(out.grad_fn).__name__ != "_DepthwiseBackward"
    kernel = layer.kernel_size[0]
    torch.testing.assert_close(out, F.conv2d(x, layer.weight, padding=kernel // 2, groups=8))


def test_every_set_of_the_engine_has_training_kernels():
    x, weight = (
        channels_last(1, 16, 4, 4).mul(3).round(),
        channels_last(16, 1, 3, 3, seed=1).mul(3).round(),
    )
    expected = F.conv2d(x, weight, padding=1, groups=16)
    try:
        for isa in extension.instruction_sets():
            extension.loaded().train_with(isa)
            assert torch.equal(_Depthwise.apply(x, weight), expected), isa
    finally:
        extension.loaded().train_with("")
