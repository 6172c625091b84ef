"""Files for other programs: ONNX for inference runtimes, NIR for neuromorphic tool chains."""

from spikedriven.export.nir import NIRReport, export_nir
from spikedriven.export.onnx import ONNXReport, export_onnx

__all__ = ["NIRReport", "ONNXReport", "export_nir", "export_onnx"]
