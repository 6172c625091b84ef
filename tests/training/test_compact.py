"""Saved spikes as bits: exact, only where they are spikes, and less memory."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.kernels import extension
from spikedriven.neurons import IntegerNeuron
from spikedriven.training.compact import (
    BINARY,
    Alphabet,
    alphabets,
    compact_saved,
    pack,
    pack_plain,
    unpack,
)

pytestmark = pytest.mark.skipif(
    extension.extension() is None, reason="installed without a C++ compiler"
)

ALPHABETS = [BINARY, Alphabet(4, 4.0), Alphabet(8, 1.0), Alphabet(6, 3.0), Alphabet(15, 15.0)]


def counts(alphabet, size, dtype=torch.float32):
    codes = torch.randint(0, alphabet.levels + 1, size, generator=torch.Generator().manual_seed(0))
    return codes, (codes / alphabet.norm).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alphabet", ALPHABETS, ids=str)
def test_codes_give_the_tensor_back(alphabet, dtype, instruction_set):
    for size in [(1,), (16,), (3, 37), (5, 7, 11, 13), (2, 30000)]:
        codes, x = counts(alphabet, size, dtype)
        packed = pack(x, alphabet)
        assert packed.codes.numel() * 8 <= (x.numel() + 15) * alphabet.bits
        assert torch.equal(pack_plain(x, alphabet).view(size), codes.byte())
        back = unpack(packed)
        assert torch.equal(back, x) and back.dtype == x.dtype
        x.view(-1)[-1] = 0.3
        assert pack(x, alphabet) is None


def test_memory_order_is_kept():
    x = counts(BINARY, (2, 8, 5, 5))[1].contiguous(memory_format=torch.channels_last)
    back = unpack(pack(x, BINARY))
    assert back.stride() == x.stride() and torch.equal(back, x)


@pytest.mark.parametrize("place", [0, 15, 300, 99999])
@pytest.mark.parametrize("value", [-0.0, 0.5, 2.0, -1.0, torch.nan, torch.inf, 1 + 1e-7, 1e-40])
def test_another_value_anywhere_is_noticed(value, place):
    x = counts(BINARY, (100000,))[1]
    x[place] = value
    assert pack(x, BINARY) is None and pack_plain(x, BINARY) is None


def test_alphabets_of_a_model():
    model = nn.Sequential(
        IntegerNeuron(4), IntegerNeuron(8, norm=1.0), IntegerNeuron(4), IntegerNeuron(20)
    )
    assert alphabets(model) == (BINARY, Alphabet(4, 4.0), Alphabet(8, 1.0))


def gradients(model, x, choices):
    model.zero_grad()
    context = compact_saved(choices) if choices else torch.enable_grad()
    with context:
        loss = model(x).square().sum()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "name, options",
    [
        ("sdt_2_256_cifar", {"embed_dim": 64}),
        ("spikingformer_2_384_cifar", {"embed_dim": 48}),
        ("spikformer_4_384_cifar", {"embed_dim": 48, "depth": 2}),
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
def test_gradients_have_the_same_bits(name, options):
    torch.manual_seed(0)
    model = sd.create_model(name, **options).train()
    x = torch.rand(2, *model.example_input().shape[1:])
    plain, compact = gradients(model, x, ()), gradients(model, x, alphabets(model))
    assert len(plain) > 20 and all(torch.equal(a, b) for a, b in zip(plain, compact, strict=True))


def test_what_is_kept_is_smaller():
    model = sd.create_model("sdt_2_256_cifar", embed_dim=64).train()
    kept = {"plain": 0, "compact": 0}

    def count(kind):
        def add(x):
            kept[kind] += x.codes.nbytes if hasattr(x, "codes") else x.nbytes
            return x

        return add

    hooks = compact_saved(alphabets(model))
    with torch.autograd.graph.saved_tensors_hooks(count("plain"), lambda x: x):
        model(torch.rand(2, 3, 32, 32))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: count("compact")(hooks.pack_hook(x)), lambda x: x
    ):
        model(torch.rand(2, 3, 32, 32))
    assert kept["compact"] < 0.62 * kept["plain"]
