"""Bilinear upsampling is a product with fractions, and no folding removes it; nearest-neighbour
upsampling is none.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spikedriven as sd
from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import measure
from spikedriven.neurons import IntegerNeuron


class Up(nn.Module):
    def __init__(self, mode: str, on_input: bool = False) -> None:
        super().__init__()
        self.mode, self.on_input = mode, on_input
        self.neuron, self.conv = IntegerNeuron(4), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        x = self.up(x) if self.on_input else x
        x = self.conv(self.neuron(x))
        return x if self.on_input else self.up(x)

    def up(self, x):
        corners = {"align_corners": False} if self.mode == "bilinear" else {}
        return F.interpolate(x, scale_factor=2, mode=self.mode, **corners)


def rows(module):
    return {row.op: row for row in sd.audit(module, torch.randn(2, 2, 4, 4)).rows}


def test_bilinear_upsampling_of_real_values_is_a_finding():
    found = rows(Up("bilinear"))["interpolate"]
    assert found.verdict == "multiplies reals" and "nearest-neighbour" in found.why
    assert "interpolate" not in rows(Up("nearest"))
    assert sd.audit(Up("nearest"), torch.randn(2, 2, 4, 4)).ok


def test_resizing_the_input_belongs_to_the_encoding():
    assert rows(Up("bilinear", on_input=True))["interpolate"].verdict == "encoding layer"


def test_energy_of_an_interpolation_is_counted_where_everything_is():
    measurement = measure(Up("bilinear"), torch.randn(2, 2, 4, 4))
    everything = {row.op: row for row in cost(measurement, "all-ops").rows}
    assert everything["interpolate"].macs == 4 * 3 * 8 * 8
    sdt = cost(measurement, "sdt")
    assert sdt.macs == pytest.approx(sum(row.macs for row in sdt.rows if row.op == "conv"))
