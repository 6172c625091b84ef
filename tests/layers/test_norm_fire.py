"""Batch norm and neuron as one operation: against the two modules one after the other."""

import copy

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.kernels import extension
from spikedriven.layers import ConvBN, FireProject, ProjectFire
from spikedriven.layers.norm_fire import batch_statistics, can_fuse, norm_fire
from spikedriven.layers.units import in_a_row
from spikedriven.neurons import LIF, IntegerNeuron, ParametricLIF, lif_naive

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)

NEURONS = {
    "lif": lambda: LIF(),
    "soft": lambda: LIF(tau=1.5, v_reset=None, v_threshold=0.5),
    "plif": lambda: ParametricLIF(tau=3.0, v_threshold=0.5),
    "integer": lambda: IntegerNeuron(4),
    "half_up": lambda: IntegerNeuron(8, norm=1.0, rounding="half_up", gradient="strict"),
}


def maps(steps=4, batch=3, channels=20, size=5, order="contiguous", seed=0):
    x = (
        torch.randn(
            steps, batch, channels, size, size, generator=torch.Generator().manual_seed(seed)
        )
        * 2
        + 3
    )
    if order == "channels_last":
        x = (
            x.flatten(0, 1)
            .contiguous(memory_format=torch.channels_last)
            .unflatten(0, (steps, batch))
        )
    return x


def norm(channels=20):
    bn = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        bn.weight.uniform_(0.5, 1.5, generator=generator)
        bn.bias.uniform_(-0.2, 1.0, generator=generator)
    return bn


def trained(bn, neuron, x, steps, fused):
    """Output, gradients of everything that has one, and running statistics, of copies of the
    modules.
    """
    bn, neuron, x = copy.deepcopy(bn), copy.deepcopy(neuron), x.detach().clone().requires_grad_()
    if fused:
        spikes = norm_fire(x, bn, neuron, steps)
    else:
        shown = x.expand(steps, -1, -1, -1, -1)
        spikes = neuron(bn(shown.flatten(0, 1)).unflatten(0, shown.shape[:2]))
    weights = torch.randn(
        spikes.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    (spikes * weights.to(spikes.dtype)).sum().backward()
    grads = [x.grad, *(p.grad for p in [*bn.parameters(), *neuron.parameters()])]
    return spikes.detach(), grads, [bn.running_mean, bn.running_var, bn.num_batches_tracked]


@pytest.mark.parametrize("order", ["contiguous", "channels_last"])
@pytest.mark.parametrize("still", [False, True], ids=["moving", "still"])
@pytest.mark.parametrize("kind", NEURONS)
def test_fused_equals_the_two_modules(kind, still, order, instruction_set):
    x = maps(steps=1 if still else 4, order=order)
    bn, neuron = norm(), NEURONS[kind]()
    spikes, grads, statistics = trained(bn, neuron, x, 4, fused=True)
    # float64 runs the readable modules
    expected = trained(bn.double(), neuron.double(), x.double(), 4, fused=False)
    # one float32 rounding may flip a spike; with these numbers it flips none
    assert torch.equal(spikes.double(), expected[0]) and 0.05 < (spikes > 0).float().mean() < 0.95
    for actual, reference in zip(grads, expected[1], strict=True):
        torch.testing.assert_close(
            actual.double(), reference, rtol=2e-4, atol=2e-5 * float(reference.abs().max())
        )
    for actual, reference in zip(statistics, expected[2], strict=True):
        torch.testing.assert_close(actual.double(), reference.double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", ["contiguous", "channels_last"])
@pytest.mark.parametrize("channels, size", [(3, 7), (64, 8), (130, 1), (1, 9)])
def test_statistics_of_any_shape(channels, size, order):
    x = maps(steps=3, channels=channels, size=size, order=order) * 4 - 100
    mean, variance = batch_statistics(x)
    values = x.double().transpose(0, 2).flatten(1)
    torch.testing.assert_close(mean, values.mean(1), rtol=1e-7, atol=0)
    torch.testing.assert_close(variance, values.var(1, unbiased=False), rtol=2e-5, atol=0)


def test_values_on_whole_numbers_fire_exactly_as_the_readable_neuron():
    """Statistics that float32 holds exactly: mean 0, variance 1 - eps, so that the norm is the
    identity.
    """
    x = torch.tensor([1.0, -1.0]).repeat(4, 2, 3, 8, 2)
    bn = nn.BatchNorm2d(3, eps=0.0)
    with torch.no_grad():
        bn.weight.fill_(2.0)
    assert torch.equal(norm_fire(x, bn, LIF(), 4), lif_naive(2 * x)[0])


def test_bfloat16_keeps_its_type_and_channels_their_order():
    x = maps(order="channels_last").bfloat16()
    x.requires_grad_()
    spikes = norm_fire(x, norm(), LIF(), 4)
    spikes.sum().backward()
    assert spikes.dtype == x.grad.dtype == torch.bfloat16
    assert spikes.stride() == x.stride() == x.grad.stride()


def test_only_one_step_of_a_still_image_is_computed():
    unit = ProjectFire(ConvBN(3, 8, 3), LIF())
    seen = []
    unit.project.conv.weight.register_hook(lambda grad: seen.append(grad))
    x = torch.rand(2, 3, 6, 6).expand(4, -1, -1, -1, -1)
    tensors = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: tensors.append(t) or t, lambda t: t):
        unit(x).sum().backward()
    assert (
        seen and max(t.numel() for t in tensors if t.ndim == 5) == 2 * 8 * 36
    )  # not four times as much


def test_evaluation_computes_a_still_image_once():
    layer = ConvBN(3, 8, 3).eval()
    x = torch.rand(2, 3, 6, 6)
    out = layer(x.expand(4, -1, -1, -1, -1))
    assert out.stride(0) == 0 and torch.equal(out, layer(x.repeat(4, 1, 1, 1, 1)))


class Counted(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    "what",
    [
        "evaluation",
        "no_grad",
        "float64",
        "hook on the norm",
        "hook on the neuron",
        "other norm",
        "momentum",
        "stream",
    ],
)
def test_where_the_modules_must_be_called(what):
    bn, neuron, x = norm(), LIF(), maps()
    assert can_fuse(bn, neuron, x)
    if what == "evaluation":
        bn.eval()
    elif what == "float64":
        x = x.double()
    elif what == "hook on the norm":
        bn.register_forward_hook(lambda *_: None)
    elif what == "hook on the neuron":
        neuron.register_forward_pre_hook(lambda *_: None)
    elif what == "other norm":
        bn = nn.SyncBatchNorm(20)
    elif what == "momentum":
        bn.momentum = None
    elif what == "stream":
        neuron.streaming = True
    with torch.set_grad_enabled(what != "no_grad"):
        assert not can_fuse(bn, neuron, x)


def test_units_in_a_row_are_fused_and_hooks_are_served():
    torch.manual_seed(0)
    units = [FireProject(LIF(), ConvBN(6, 6)) for _ in range(3)]
    x = maps(channels=6)
    plain = copy.deepcopy(units)
    calls = []
    plain[1].neuron.register_forward_hook(lambda *_: calls.append(1))
    for unit in plain:
        unit.project.bn.register_forward_hook(lambda *_: calls.append(2))
    out, expected = in_a_row(x, *units), in_a_row(x, *plain)
    assert sorted(calls) == [1, 2, 2, 2]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    assert all(
        torch.allclose(a.project.bn.running_var, b.project.bn.running_var)
        for a, b in zip(units, plain, strict=True)
    )


@pytest.mark.parametrize(
    "name, options",
    [
        ("sdt_2_256_cifar", {"embed_dim": 64}),
        (
            "e_spikeformer_3m",
            {
                "embed_dims": (16, 16, 32, 32),
                "depths": (1, 1, 1, 1, 0),
                "img_size": 32,
                "num_heads": 4,
            },
        ),
    ],
)
def test_a_network_trains_to_the_same_gradients(name, options):
    """Against the same network in float64, which the readable modules compute."""
    torch.manual_seed(0)
    model = sd.create_model(name, **options).train()
    twin = copy.deepcopy(model).double()
    x = torch.rand(2, *model.example_input().shape[1:])
    model(x).square().sum().backward()
    twin(x.double()).square().sum().backward()
    pairs = [
        (n, p.grad, q.grad)
        for (n, p), q in zip(model.named_parameters(), twin.parameters(), strict=True)
        if p.grad is not None
    ]
    cosine = {
        n: float(torch.cosine_similarity(a.double().flatten(), b.flatten(), dim=0))
        for n, a, b in pairs
        if b.abs().max() > 1e-6
    }
    assert len(cosine) > 20 and min(cosine.values()) > 0.9, min(cosine, key=cosine.get)
    assert sum(c > 0.999 for c in cosine.values()) > 0.7 * len(cosine)
