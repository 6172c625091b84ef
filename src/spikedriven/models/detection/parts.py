"""What the pyramid and the heads are made of: pairs of a neuron and a weight layer, in one of two
modes.

corrected: convolution and batch norm, neurons divided by D, one in front of each weight layer.
released: convolution with bias and no norm, neurons that hand on undivided counts 0..D, as the
SDT-V3 detectors have them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikedriven.layers import ConvBN, FireProject, over_time
from spikedriven.layers.fold import FoldedConv
from spikedriven.neurons import IntegerNeuron, NeuronFactory

MODES = ("corrected", "released")


class ClippingNeuron(IntegerNeuron):
    """The neuron of the released pyramid: counts 0..D while training, but only 0 or 1 in
    evaluation.

    Its divisor is 1, and evaluation clips at the divisor where training clips at D (measured on the
    release).
    """

    @property
    def levels(self) -> int:  # type: ignore[override]
        """D of the mode the module is in, for whoever counts or expands its spikes."""
        return self.trained_levels if self.training else int(self.norm)

    @levels.setter
    def levels(self, value: int) -> None:
        self.trained_levels = value


class PlainConv(FoldedConv):
    """Convolution with bias (same padding, no norm) on maps with a time axis. [T, B, in, H, W]
    -> [T, B, out, ...].
    """

    def __init__(self, in_chans: int, out_chans: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(in_chans, out_chans, kernel, stride, kernel // 2)


class UpConv(nn.ConvTranspose2d):
    """Transposed 2x2 convolution of stride 2 on maps with a time axis. [T, B, in, H, W] -> [T,
    B, out, 2H, 2W].
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__(in_chans, out_chans, 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return over_time(super().forward, x)


class ShuffleUp(nn.Module):
    """The same linear map as a 1x1 convolution with batch norm and a pixel shuffle, so that the
    norm folds.
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.project = ConvBN(in_chans, 4 * out_chans)

    def forward(self, x: Tensor) -> Tensor:
        return over_time(lambda maps: nn.functional.pixel_shuffle(maps, 2), self.project(x))


class Flat(nn.Module):
    """A fully connected layer with batch norm on RoI features: a 1x1 convolution. [T, R, F, 1, 1]
    in and out.

    One value per feature has no variance: a training batch with a single RoI is normalised by the
    running statistics, as in evaluation, and leaves them as they are.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.project = ConvBN(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        if not (
            self.training
            and x.shape[0] * x.shape[1] == 1
            and type(self.project.bn) is nn.BatchNorm2d
        ):
            return self.project(x)  # SyncBatchNorm sees the RoIs of the other processes too
        was_training = self.project.bn.training
        self.project.bn.eval()
        try:
            return self.project(x)
        finally:
            self.project.bn.train(was_training)


@dataclass(frozen=True)
class Parts:
    """How one detector builds its layers. neuron: of the heads; neck_neuron: of the pyramid."""

    mode: str
    neuron: NeuronFactory
    neck_neuron: NeuronFactory
    time_steps: int

    @property
    def corrected(self) -> bool:
        return self.mode == "corrected"

    def conv(self, in_chans: int, out_chans: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        """neuron -> convolution, with batch norm (corrected) or bias (released)."""
        return FireProject(self.neuron(), self.weights(in_chans, out_chans, kernel, stride))

    def neck_conv(
        self, in_chans: int, out_chans: int, kernel: int = 3, stride: int = 1
    ) -> nn.Module:
        """The same with the pyramid's neuron."""
        return FireProject(self.neck_neuron(), self.weights(in_chans, out_chans, kernel, stride))

    def weights(self, in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Module:
        if self.corrected:
            return ConvBN(in_chans, out_chans, kernel, stride)
        return PlainConv(in_chans, out_chans, kernel, stride)

    def normed_conv(self, in_chans: int, out_chans: int, kernel: int = 3) -> nn.Module:
        """neuron -> convolution with batch norm, in both modes."""
        return FireProject(self.neuron(), ConvBN(in_chans, out_chans, kernel))

    def predictor(
        self, in_chans: int, out_chans: int, kernel: int = 1, std: float = 0.01
    ) -> FireProject:
        """neuron -> convolution with bias that starts near zero: the last layer of a branch."""
        conv = PlainConv(in_chans, out_chans, kernel)
        assert conv.bias is not None
        nn.init.normal_(conv.weight, std=std)
        nn.init.zeros_(conv.bias)
        return FireProject(self.neuron(), conv)

    def unfold(self, maps: Tensor) -> Tensor:
        """[T * B, ...] -> [T, B, ...]."""
        return maps.unflatten(0, (self.time_steps, maps.shape[0] // self.time_steps))


def relu_between(corrected: bool, layers: list[nn.Module]) -> nn.Sequential:
    """Layers in a row; the released heads have a ReLU behind each (a neuron that follows clips
    at 0 anyway).
    """
    if corrected:
        return nn.Sequential(*layers)
    return nn.Sequential(*(module for layer in layers for module in (layer, nn.ReLU())))


def no_rois(head: nn.Module, like: Tensor, *shape: int) -> Tensor:
    """An empty tensor that depends on `like` and on all weights of a head: every process of a run
    has gradients for it.

    Images without objects have no RoIs for the mask head, and batch norms nothing to measure.
    """
    return (
        like.new_zeros(*shape)
        + 0 * torch.stack([like.sum(), *(p.sum() for p in head.parameters())]).sum()
    )


def mean_over_time(maps: Tensor) -> Tensor:
    """[T, B, ...] -> [B, ...]; one step is handed on as it is."""
    return maps[0] if maps.shape[0] == 1 else maps.mean(0)


def freeze_norms(module: nn.Module) -> None:
    """Batch norms keep their statistics and their weights."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()
            for parameter in child.parameters():
                parameter.requires_grad_(False)


def plain_linear(
    in_features: int, out_features: int, init: Callable[[Tensor], Tensor]
) -> nn.Linear:
    """A linear layer whose weights `init` fills and whose bias is 0."""
    layer = nn.Linear(in_features, out_features)
    with torch.no_grad():
        init(layer.weight)
        layer.bias.zero_()
    return layer
