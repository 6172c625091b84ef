"""The three released networks of Spikformer: one function, three spellings and starts."""

import pytest
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.layers import FiredAttention
from spikedriven.models import official_state_dict
from tests.networks import enliven, live_input

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 5, "time_steps": 2}


@pytest.mark.parametrize(
    ("name", "attention", "mlp"),
    [
        ("spikformer_8_512", ("q_conv", 3), ("fc1_conv", 4)),
        ("spikformer_4_384_cifar", ("q_linear", 2), ("fc1_linear", 2)),
        ("spikformer_2_256_dvs", ("q_conv", 3), ("fc1_conv", 3)),
    ],
)
def test_weights_have_the_shapes_of_their_release(name, attention, mlp):
    """1-d convolutions, 2-d ones, and linear layers on tokens; loading takes them back."""
    model = enliven(sd.create_model(name, **SMALL))
    theirs = official_state_dict(model)
    for block, (layer, axes) in (("attn", attention), ("mlp", mlp)):
        assert theirs[f"block.1.{block}.{layer}.weight"].ndim == axes
    again = sd.create_model(name, **SMALL)
    assert sd.load_official(again, theirs).spelling == "authors"
    assert all(torch.equal(a, b) for a, b in zip(*map(list_weights, (model, again)), strict=True))


def list_weights(model):
    return list(model.state_dict().values())


def test_the_releases_are_one_function():
    """Without biases in q, k and v the CIFAR network is the ImageNet one."""
    like_imagenet = sd.create_model("spikformer_4_384_cifar", **SMALL, release="imagenet")
    like_imagenet = enliven(like_imagenet.double().eval())
    like_cifar = sd.create_model("spikformer_4_384_cifar", **SMALL).double().eval()
    missing, unexpected = like_cifar.load_state_dict(like_imagenet.state_dict(), strict=False)
    assert not unexpected
    assert {key.split("attn.")[1] for key in missing} == {f"{x}.project.conv.bias" for x in "qkv"}
    for key in missing:
        torch.nn.init.zeros_(like_cifar.get_parameter(key))
    x = live_input(like_cifar)
    with torch.no_grad():
        torch.testing.assert_close(like_cifar(x), like_imagenet(x), rtol=1e-9, atol=1e-9)


def test_constants_of_the_releases():
    for name, scale in (("spikformer_8_512", 0.125), ("spikformer_2_256_dvs", 0.25)):
        model = sd.create_model(name, **SMALL)
        assert {m.scale.factor for m in model.modules() if isinstance(m, FiredAttention)} == {scale}
    events = sd.create_model("spikformer_2_256_dvs", **SMALL)
    assert events.unused["pos_embed"].shape == (1, 64, 32)  # 128 pixels, stride 16
    bare = sd.create_model("spikformer_2_256_dvs", **SMALL, released_params=False)
    assert not [key for key in bare.state_dict() if "unused" in key]
    with pytest.raises(InputError, match="release must be one of imagenet, cifar, cifar10-dvs"):
        sd.create_model("spikformer_8_512", release="cifar100")


def test_initial_weights_are_those_of_the_release():
    """Linear layers start at a normal of 0.02 with zero biases; convolutions as PyTorch's."""
    torch.manual_seed(0)
    cifar, imagenet = (
        sd.create_model("spikformer_4_384_cifar", **SMALL | {"embed_dim": 128}, release=release)
        for release in ("cifar", "imagenet")
    )
    for model, deviation in ((cifar, 0.02), (imagenet, 128**-0.5 / 3**0.5)):
        layer = model.blocks[0].mlp.fc1.project.conv
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert (layer.bias.abs().max() == 0) == (model is cifar)
