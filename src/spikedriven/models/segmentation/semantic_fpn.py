"""Spiking semantic FPN: pyramid, then chains of neuron -> convolution per level, summed at the
finest level's size.

The pair QFPN and QFPNHead of SDT-V3's segmentation (and, with LIF and T kept, FPN_SNN and
FPNHead_SNN of SDT-V2); the head is that of "Panoptic Feature Pyramid Networks" (CVPR 2019) with
neurons in place of ReLU.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.layers import ConvBN, FireProject, over_time
from spikedriven.layers.fold import FoldedConv
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.detection.parts import mean_over_time
from spikedriven.models.official import OfficialNames, Rules
from spikedriven.models.segmentation.names import SegmenterNames
from spikedriven.neurons import NeuronFactory

UPSAMPLINGS = ("nearest", "bilinear")


class Upsample(nn.Module):
    """[T, B, C, H, W] to twice the height and width, or to ``size``.

    mode: "nearest" repeats values; "bilinear" (corners not aligned) multiplies them by fractions.
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        size = size or (2 * x.shape[-2], 2 * x.shape[-1])
        return over_time(lambda maps: resize(maps, size, self.mode), x)

    def extra_repr(self) -> str:
        return self.mode


def resize(maps: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """[B, C, H, W] -> [B, C, *size]."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(
        maps, size=size, mode=mode, **({"align_corners": False} if mode == "bilinear" else {})
    )


class SemanticFPNHead(nn.Module):
    """Maps of one width, finest first -> logits at the finest one's size.

    lengths: [neuron, 3x3 convolution, batch norm] per level, each followed by upsampling by two
    where the level is coarser than the first. Levels are summed; neuron and 1x1 convolution give
    the classes.
    """

    def __init__(
        self,
        in_chans: int,
        width: int,
        num_classes: int,
        lengths: Sequence[int],
        neuron: NeuronFactory,
        upsampling: str,
    ) -> None:
        super().__init__()
        self.scale_heads = nn.ModuleList(
            _chain(in_chans, width, length, neuron, upsampling if level else None)
            for level, length in enumerate(lengths)
        )
        self.resize = Upsample(upsampling)
        self.classify = FireProject(neuron(), classifier(width, num_classes))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [T, B, C, H_i, W_i] -> logits [T, B, K, H_0, W_0]."""
        size = (maps[0].shape[-2], maps[0].shape[-1])
        total = self.scale_heads[0](maps[0])
        for chain, level in zip(self.scale_heads[1:], maps[1:], strict=True):
            total = total + self.resize(chain(level), size)
        return self.classify(total)


def classifier(width: int, num_classes: int) -> FoldedConv:
    """The last 1x1 convolution, with MMSegmentation's initial values."""
    conv = FoldedConv(width, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _chain(
    in_chans: int, width: int, length: int, neuron: NeuronFactory, upsampling: str | None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(length):
        layers.append(FireProject(neuron(), ConvBN(width if i else in_chans, width, 3)))
        if upsampling is not None:
            layers.append(Upsample(upsampling))
    return nn.Sequential(*layers)


class Segmenter(nn.Module):
    """Backbone, neck (a pyramid, or nothing) and head: [B, C, H, W] (or frames [B, T, C, H, W]) ->
    logits [B, K, H, W].

    indices: taps, into the backbone's ``feature_info``. keep_time: neck and head run on all time
    steps and the logits are averaged; False: the taps are. names: ours -> the authors', of neck and
    head. Every call starts from neurons at rest.

    The spike graph (audit, energy, ONNX ...) is that of `dense_logits`: the last operation of
    ``forward``, enlarging the logits to the image, is arithmetic on the output and no part of the
    network.
    """

    graph_method = "dense_logits"

    def __init__(
        self, backbone: SpikeDrivenModel, indices: Sequence[int], neck: nn.Module, head: nn.Module,
        num_classes: int, keep_time: bool, names: Rules,
    ) -> None:  # fmt: skip
        super().__init__()
        self.indices = backbone.prune_intermediate_layers(list(indices))
        self.backbone, self.neck, self.head = backbone, neck, head
        self.num_classes, self.keep_time, self._names = num_classes, keep_time, names
        self.in_chans, self.img_size = backbone.in_chans, backbone.img_size
        self.time_steps, self.input_layout = backbone.time_steps, backbone.input_layout

    def forward(self, x: Tensor) -> Tensor:
        return resize(self.dense_logits(x), (x.shape[-2], x.shape[-1]))

    def dense_logits(self, x: Tensor) -> Tensor:
        """Logits [B, K, h, w] at the stride of the finest tap."""
        taps: Any = self.backbone.forward_intermediates(
            x, self.indices, stop_early=True, intermediates_only=True, merge_time=not self.keep_time
        )
        if not self.keep_time:
            taps = [tap.unsqueeze(0) for tap in taps]
        return mean_over_time(self.head(self.neck(taps)))

    def compiled(self, make: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """A copy in evaluation mode that computes its logits with programs; see
        `spikedriven.compile`.
        """
        result = copy.deepcopy(self).eval()
        object.__setattr__(result, "dense_logits", make(DenseLogits(self)))
        return result

    @property
    def encoder(self) -> SpikeDrivenModel:
        """What the weights of a classifier start (`model.init`)."""
        return self.backbone

    @property
    def stride(self) -> int:
        """Pixels of the image per position of `dense_logits`."""
        return self.backbone.feature_info[self.indices[0]]["reduction"]

    def example_input(self, batch_size: int = 1) -> Tensor:
        """Zeros of the shape this network was made for."""
        return self.backbone.example_input(batch_size)

    def official_names(self) -> OfficialNames:
        """The release's names; see `names`."""
        return SegmenterNames.of(self.backbone.official_names(), self._names)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """As of the backbone: time constants of neurons."""
        return {name for name, _ in self.named_parameters() if name.endswith(".w")}


class DenseLogits(nn.Module):
    """A segmenter without the last enlargement: [B, C, H, W] -> [B, K, h, w]."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, x: Tensor) -> Tensor:
        return self.segmenter.dense_logits(x)
