"""The compiled batch norm of training against PyTorch's, in float64: values, gradients, running
statistics.
"""

import copy

import pytest
import torch
from torch import nn

from spikedriven.kernels import extension
from spikedriven.kernels.norm import _BatchNorm, batch_norm
from spikedriven.layers import ConvBN

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)


def maps(shape, order="channels_last", dtype=torch.float32, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 2
    x = x.to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if order == "channels_last" else x


def norm(channels, **options):
    bn = nn.BatchNorm2d(channels, **options)
    with torch.no_grad():
        bn.weight.uniform_(0.5, 1.5)
        bn.bias.uniform_(-1.0, 1.0)
    return bn


def trained(bn, x, upstream, function):
    bn, x = copy.deepcopy(bn), x.detach().clone().requires_grad_()
    out = function(x, bn)
    out.backward(upstream)
    return [out.detach(), x.grad, bn.weight.grad, bn.bias.grad, bn.running_mean, bn.running_var]


@pytest.mark.parametrize("order", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    "shape", [(2, 16, 8, 8), (3, 40, 7, 9), (5, 3, 4, 4), (40, 5, 1, 1), (2, 130, 3, 30)]
)
def test_equals_pytorchs_in_float64(shape, order, instruction_set):
    bn, x, upstream = norm(shape[1]), maps(shape, order), maps(shape, order, seed=1)
    found = trained(bn, x, upstream, batch_norm)
    expected = trained(bn.double(), x.double(), upstream.double(), lambda x, bn: bn(x))
    for actual, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(
            actual.double(), reference, rtol=1e-5, atol=1e-5 * float(reference.abs().max())
        )
    assert found[0].stride() == x.stride() and found[1].stride() == x.stride()


def test_bfloat16_rounds_once():
    shape = (4, 48, 6, 6)
    bn = norm(48)
    x, upstream = maps(shape, dtype=torch.bfloat16), maps(shape, dtype=torch.bfloat16, seed=1)
    out, grad, *rest = trained(bn, x, upstream, batch_norm)
    expected, reference, *others = trained(
        bn.double(), x.double(), upstream.double(), lambda x, bn: bn(x)
    )
    assert out.dtype == grad.dtype == torch.bfloat16
    for actual, true in ((out, expected), (grad, reference)):
        torch.testing.assert_close(actual.double(), true, rtol=2**-8, atol=1e-5)
    for actual, true in zip(rest, others, strict=True):
        torch.testing.assert_close(actual.double(), true, rtol=1e-5, atol=1e-4)


def test_the_gradient_that_comes_in_is_left_as_it_was():
    """A residual hands one tensor to both of its branches."""
    x, bn = maps((2, 16, 4, 4)).requires_grad_(), norm(16)
    upstream = maps((2, 16, 4, 4), seed=1)
    kept = upstream.clone()
    batch_norm(x, bn).backward(upstream)
    assert torch.equal(upstream, kept)


def test_threads_change_nothing():
    before, found = torch.get_num_threads(), []
    x, upstream, bn = maps((8, 48, 30, 30)), maps((8, 48, 30, 30), seed=1), norm(48)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(trained(bn, x, upstream, batch_norm))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_convolutions_with_norm_use_it_and_statistics_may_be_left_out():
    layer = ConvBN(3, 8, 3)
    layer.bn = norm(8, track_running_stats=False)
    out = layer(torch.rand(2, 2, 3, 6, 6))
    assert "_BatchNormBackward" in names(out.grad_fn) and layer.bn.running_mean is None


def names(node, depth=6):
    if node is None or depth == 0:
        return set()
    return {type(node).__name__}.union(
        *(names(parent, depth - 1) for parent, _ in node.next_functions)
    )


@pytest.mark.parametrize(
    "why", ["evaluation", "no_grad", "float64", "hook", "another norm", "momentum", "affine"]
)
def test_elsewhere_it_is_the_module(why):
    bn, x, calls = norm(8), maps((2, 8, 5, 5)), []
    if why == "evaluation":
        bn.eval()
    elif why == "float64":
        bn, x = bn.double(), x.double()
    elif why == "another norm":
        bn = nn.GroupNorm(2, 8)
    elif why == "momentum":
        bn.momentum = None
    elif why == "affine":
        bn = nn.BatchNorm2d(8, affine=False)
    twin = copy.deepcopy(bn)
    if why == "hook":
        bn.register_forward_hook(lambda *_: calls.append(1))
    with torch.set_grad_enabled(why != "no_grad"):
        out = batch_norm(x.requires_grad_(), bn)
    assert "_BatchNormBackward" not in names(out.grad_fn) and bool(calls) == (why == "hook")
    assert torch.equal(out, twin(x))


def test_a_second_derivative_is_refused_instead_of_wrong():
    x = maps((2, 8, 4, 4)).requires_grad_()
    (grad,) = torch.autograd.grad(batch_norm(x, norm(8)).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
    assert issubclass(_BatchNorm, torch.autograd.Function)
