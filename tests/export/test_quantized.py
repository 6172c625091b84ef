"""Quantized networks as files: onnxruntime gives the module's bits; NIR holds the layers that
read spikes.
"""

from pathlib import Path

import onnx
import pytest
import torch

import spikedriven as sd
from tests.engine.nets import thin
from tests.engine.test_quantized import Reals


def test_onnx_holds_integers_and_gives_the_same_bits(tmp_path: Path) -> None:
    model, batch = thin("sdt_2_256_cifar10dvs")
    small = sd.quantize(model, batch)
    report = sd.export_onnx(small, batch, tmp_path / "small.onnx")
    assert report.ok and report.largest_difference == 0.0
    graph = onnx.load(tmp_path / "small.onnx").graph
    layers = len(small.quantization.layers)
    assert sum(node.op_type == "DequantizeLinear" for node in graph.node) == layers
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer) == layers


def test_onnx_of_layers_on_real_values(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Reals().eval(), torch.randn(3, 2, 6, 6)
    sd.calibrate(model, x)
    report = sd.export_onnx(sd.quantize(model, x), x, tmp_path / "small.onnx")
    assert report.largest_difference == 0.0


@pytest.mark.slow
def test_nir_holds_layers_on_spikes(tmp_path: Path) -> None:
    model, batch = thin("sdt_2_256_cifar")
    report = sd.export_nir(sd.quantize(model, batch), batch, tmp_path / "small.nir")
    assert report.ok and "it rounds the real values that it reads" in str(report)
