"""spikedriven: spike-driven vision transformers, trained, measured, proved and deployed."""

from spikedriven.engine import compile, load_program
from spikedriven.export.nir import export_nir
from spikedriven.export.onnx import export_onnx
from spikedriven.graph.audit import audit
from spikedriven.graph.calibrate import calibrate
from spikedriven.graph.energy import energy
from spikedriven.graph.expand import expand
from spikedriven.graph.firing import firing_rates
from spikedriven.graph.fuse import fuse
from spikedriven.graph.trace import trace
from spikedriven.models import create_model, list_models, load_official

__version__ = "0.1.0.dev0"

__all__ = [
    "audit",
    "calibrate",
    "compile",
    "create_model",
    "energy",
    "expand",
    "export_nir",
    "export_onnx",
    "firing_rates",
    "fuse",
    "list_models",
    "load_official",
    "load_program",
    "trace",
]
