"""Operations on padding: counted by hand, and against a convolution that counts them itself."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.graph.counts import count_layers
from spikedriven.graph.trace import trace
from spikedriven.neurons import LIF


def inner_products(layer: nn.Module, x: torch.Tensor) -> float:
    """Multiply-accumulates inside the map, counted by the layer itself: ones in, ones as
    weights."""
    with torch.no_grad():
        layer.weight.fill_(1.0)
        if layer.bias is not None:
            layer.bias.zero_()
        return layer(torch.ones_like(x)).sum().item()


LAYERS = [
    nn.Conv2d(4, 6, 3, padding=1),
    nn.Conv2d(4, 6, 7, stride=2, padding=3, bias=False),
    nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2),
    nn.Conv2d(4, 6, (3, 5), padding=(0, 2)),
    nn.Conv2d(4, 6, 3, padding="same"),
    nn.Conv2d(4, 6, 3),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_padding_is_counted_exactly(layer):
    x = torch.zeros(1, 4, 9, 11)
    (row,) = [
        row for row in count_layers(trace(nn.Sequential(LIF(), layer), x), {}) if row.op == "conv"
    ]
    assert row.ops - row.padding_ops == pytest.approx(inner_products(layer, x), rel=1e-12)
    padded = layer.padding not in ((0, 0), 0)
    assert (row.padding_ops > 0) == padded


def test_a_convention_says_whether_it_counts_padding():
    model = nn.Sequential(LIF(), nn.Conv2d(1, 1, 3, padding=1, bias=False)).eval()
    x = torch.full((1, 1, 4, 4), 3.0)  # every neuron fires: the additions are the operations
    counted = {name: sd.energy(model, x, name) for name in ("sdt", "step")}
    assert [row.sops for row in counted["sdt"].rows] == [144.0]
    assert [row.sops for row in counted["step"].rows if row.op == "conv"] == [pytest.approx(100)]
    share = counted["sdt"].padding_share
    assert share == pytest.approx(44 / 144)
    assert "(30.6% of all) are counted" in counted["sdt"].basis()
    assert "(30.6% of all) are not counted" in counted["step"].basis()
