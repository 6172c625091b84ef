"""The head of "Fully Convolutional Networks" (CVPR 2015), with a neuron in front of each weight
layer.

MMSegmentation's FCNHead, as SDT-V2's configuration names it: no convolution but the classifier, on
the last map.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from spikedriven.layers import ConvBN, FireProject
from spikedriven.models.segmentation.semantic_fpn import classifier
from spikedriven.neurons import NeuronFactory


class FCNHead(nn.Module):
    """convs times [neuron, 3x3 convolution, batch norm], then neuron and 1x1 convolution, on
    the last map given.
    """

    def __init__(
        self, in_chans: int, width: int, convs: int, num_classes: int, neuron: NeuronFactory
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [in_chans, *[width] * convs]
        self.convs = nn.Sequential(
            *(FireProject(neuron(), ConvBN(channels[i], width, 3)) for i in range(convs))
        )
        self.classify = FireProject(neuron(), classifier(channels[-1], num_classes))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [T, B, C_i, H_i, W_i] -> logits [T, B, K, H, W] at the size of the last one."""
        return self.classify(self.convs(maps[-1]))
