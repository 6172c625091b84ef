"""The foreign networks in one table. They use PyTorch's layers and our neurons only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.foreign.attention import AttentionNet, IntegerNet, integer
from tests.foreign.maps import OddConvolutions, RealBranch, TwoInputs, UNet
from tests.foreign.residual import MSResNet, SEWResNet, images, mobilenet, resnet, vgg
from tests.foreign.sequences import EventLoop, EventSteps, OwnNet, Sequence
from tests.foreign.styles import DenseBlocks, Mixer, PlainAttention, SumNorms

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Foreign:
    """build: the bare network. inputs: of so many examples, as the network takes them.

    neurons: neuron operators in its graph; levels: the largest count of one. steps: T.
    findings: (module, operator class) of every row of the audit that breaks the promise.
    encoding: the layers that read the input. kept: norms that no layer can take, which `fuse`
    names.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    neurons: int
    encoding: tuple[str, ...]
    findings: tuple[tuple[str, str], ...] = ()
    steps: int = 2
    levels: int = 1
    kept: tuple[str, ...] = ()

    def make(self) -> nn.Module:
        """The network, always with the same weights, in evaluation mode; its neurons fire."""
        torch.manual_seed(0)
        network = self.build()
        _lively(network, self.inputs(8))
        return network.eval()

    def __str__(self) -> str:
        return self.name


def _lively(network: nn.Module, inputs: Inputs) -> None:
    """Batch norms get the statistics of these inputs and factors of their own: neurons fire."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.8, 1.6)
        nn.init.normal_(norm.bias, 0.2, 0.2)
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's name for the mean over all calls
    network.train()
    with torch.no_grad():
        network(*inputs)
    for norm in norms:
        norm.momentum = 0.1


def _picture(batch: int) -> Inputs:
    return (images(batch),)


def _large_picture(batch: int) -> Inputs:
    return (images(batch, 32),)


def _wide(batch: int) -> Inputs:
    return (images(batch)[..., :12],)


def _events(batch: int) -> Inputs:
    """Counts of events: [B, 3, 2, 16, 16]."""
    rates = torch.full((batch, 3, 2, 16, 16), 0.3)
    return (torch.poisson(rates, torch.Generator().manual_seed(2)),)


def _sequence(batch: int) -> Inputs:
    return (torch.randn(batch, 6, 24, generator=torch.Generator().manual_seed(3)),)


def _picture_and_events(batch: int) -> Inputs:
    return (images(batch), _events(batch)[0])


def _attention(**how: Any) -> Callable[[], nn.Module]:
    return partial(AttentionNet, **how)


#: A mean over positions is no spike, and a classifier that reads it multiplies.
_AVERAGES = ("fc", "linear")
_BOTTLENECKS = tuple(
    (f"network.features.{place}", "conv")
    for place in ("2.conv.0.0", "3.conv.0.0", "4.conv.0.0", "5.0")
)

#: Norms of maps that others read too.
_JOINED = ("layers.0.0", "layers.1.0", "transition.0")
_JOINED_NORMS = tuple((name, "batchnorm") for name in _JOINED)

FOREIGN = (
    Foreign("ms_resnet", MSResNet, _picture, 5, ("stem.layers.0",), (_AVERAGES,)),
    Foreign("sew_resnet_add", partial(SEWResNet, "ADD"), _picture, 5, ("stem.layers.0",)),
    Foreign("sew_resnet_and", partial(SEWResNet, "AND"), _picture, 5, ("stem.layers.0",)),
    Foreign("vgg", vgg, _picture, 4, ("network.0.0",)),
    Foreign(
        "mobilenet_v2",
        mobilenet,
        _picture,
        9,
        ("network.features.0.0",),
        (*_BOTTLENECKS, ("network.classifier.1", "linear")),
    ),
    Foreign("resnet", resnet, _large_picture, 5, ("network.conv1",), (("network.fc", "linear"),)),
    Foreign(
        "unet", UNet, _picture, 8, ("down1.0",), (("bilinear", "interpolate"), ("up2.0", "conv"))
    ),
    Foreign("odd_convolutions", OddConvolutions, _wide, 5, ("stem",), (_AVERAGES,)),
    Foreign(
        "real_branch",
        RealBranch,
        _picture,
        3,
        ("real1", "stem.layers.0"),
        (("", "activation"), ("real2", "conv")),
    ),
    Foreign(
        "two_inputs",
        TwoInputs,
        _picture_and_events,
        3,
        ("image.layers.0", "events.layers.0"),
        steps=3,
    ),
    Foreign("event_loop", EventLoop, _events, 6, ("conv1",) * 3, steps=3),
    Foreign("event_steps", EventSteps, _events, 2, ("conv1",), steps=3),
    Foreign("sequence", Sequence, _sequence, 3, ("conv1",)),
    Foreign("attention_qk_before", _attention(scale="before"), _picture, 8, ("patches",)),
    Foreign("attention_qk_after", _attention(scale="after"), _picture, 8, ("patches",)),
    Foreign(
        "attention_kv_between", _attention(order="kv", scale="between"), _picture, 8, ("patches",)
    ),
    Foreign(
        "attention_einsum_qk",
        _attention(write="einsum", scale="between"),
        _picture,
        8,
        ("patches",),
    ),
    Foreign(
        "attention_einsum_kv",
        _attention(write="einsum", order="kv", scale="after"),
        _picture,
        8,
        ("patches",),
    ),
    Foreign("integer", IntegerNet, _picture, 3, ("stem",), levels=4),
    Foreign("integer_attention", _attention(neuron=integer), _picture, 8, ("patches",), levels=4),
    Foreign("own_neuron", OwnNet, _picture, 2, ("conv1.layers.0",), steps=3),
    Foreign("sum_norms", SumNorms, _picture, 4, ("stem",)),
    Foreign("dense_blocks", DenseBlocks, _picture, 4, ("stem",), _JOINED_NORMS, kept=_JOINED),
    Foreign("mixer", Mixer, _picture, 5, ("patches",)),
    Foreign("plain_attention", PlainAttention, _picture, 3, ("patches",)),
)
BY_NAME = {one.name: one for one in FOREIGN}
