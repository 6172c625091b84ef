"""Re-parameterisable convolutions: chains of linear layers that act as one convolution once they
are folded.

In a chain nothing fires between the parts, so it reads spikes and is worth one dense convolution at
inference.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.kernels.norm import batch_norm
from spikedriven.layers.units import ConvBN, over_time


class BatchNormPad2d(nn.BatchNorm2d):
    """Batch norm, then a border of one pixel that holds the norm's image of zero. [N, C, H, W] ->
    [N, C, H+2, W+2].

    The border makes the chain equal to one zero-padded convolution after folding. As released: in
    training too the border comes from the running statistics, already updated by this batch, and no
    gradient flows through it.
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(super().forward(x), (1, 1, 1, 1))
        ring = F.pad(torch.zeros_like(x[:1, :1]), (1, 1, 1, 1), value=1.0)
        return padded + ring * self._image_of_zero().to(padded.dtype).view(1, -1, 1, 1)

    def _image_of_zero(self) -> Tensor:
        return (
            self.bias - self.running_mean * self.weight / torch.sqrt(self.running_var + self.eps)
        ).detach()


class RepConvBN(nn.Module):
    """RepConv (Meta-SpikeFormer): 1x1 -> padded BN -> depthwise 3x3 -> 1x1 -> BN -> BN, no biases.

    [T, B, in, H, W] -> [T, B, out, H, W]; one dense 3x3 convolution after folding. The second norm
    is the release's.
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_chans, in_chans, 1, bias=False)
        self.bn_pad = BatchNormPad2d(in_chans)
        self.depthwise = nn.Conv2d(in_chans, in_chans, 3, groups=in_chans, bias=False)
        self.last = nn.Conv2d(in_chans, out_chans, 1, bias=False)
        self.bn_inner = nn.BatchNorm2d(out_chans)
        self.bn = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        return over_time(self._images, x)

    def _images(self, x: Tensor) -> Tensor:
        x = self.last(self.depthwise(self.bn_pad(self.first(x))))
        return batch_norm(batch_norm(x, self.bn_inner), self.bn)


class RepPointwise(nn.Module):
    """Two 1x1 convolutions, each with its BN (E-SpikeFormer Large). [T, B, in, H, W] -> [T, B, out,
    H, W].

    hidden: channels between them; last_bn: a further BN at the end. One 1x1 convolution after
    folding.
    """

    def __init__(self, in_chans: int, out_chans: int, hidden: int, last_bn: bool = True) -> None:
        super().__init__()
        self.first = ConvBN(in_chans, hidden)
        self.last = ConvBN(hidden, out_chans)
        self.bn = nn.BatchNorm2d(out_chans) if last_bn else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return over_time(lambda maps: batch_norm(maps, self.bn), self.last(self.first(x)))
