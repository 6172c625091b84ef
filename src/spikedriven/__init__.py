"""spikedriven: spike-driven vision transformers, trained, measured, proved and deployed.

Names are imported when the first of them is used: a program that is loaded and run never imports
torch.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from spikedriven.plugins import import_after

if TYPE_CHECKING:
    from spikedriven.engine import compile, load_program
    from spikedriven.export.nir import export_nir
    from spikedriven.export.onnx import export_onnx
    from spikedriven.graph.audit import audit
    from spikedriven.graph.calibrate import calibrate
    from spikedriven.graph.energy import energy
    from spikedriven.graph.expand import expand
    from spikedriven.graph.firing import firing_rates
    from spikedriven.graph.fuse import fuse
    from spikedriven.graph.quantize import quantize
    from spikedriven.graph.trace import trace
    from spikedriven.hub import from_pretrained, push_to_hub, save_pretrained
    from spikedriven.models import create_model, list_models, load_official

__version__ = "0.1.0"

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
    "from_pretrained",
    "fuse",
    "list_models",
    "load_official",
    "load_program",
    "push_to_hub",
    "quantize",
    "save_pretrained",
    "trace",
]

#: Where each name lives.
_HOMES = {
    "audit": "graph.audit",
    "calibrate": "graph.calibrate",
    "compile": "engine",
    "create_model": "models",
    "energy": "graph.energy",
    "expand": "graph.expand",
    "export_nir": "export.nir",
    "export_onnx": "export.onnx",
    "firing_rates": "graph.firing",
    "from_pretrained": "hub",
    "fuse": "graph.fuse",
    "list_models": "models",
    "load_official": "models",
    "load_program": "engine",
    "push_to_hub": "hub",
    "quantize": "graph.quantize",
    "save_pretrained": "hub",
    "trace": "graph.trace",
}


#: What works without torch.
_LIGHT = ("load_program", "engine", "errors", "figures", "files", "kernels", "plugins", "tabular")


def __getattr__(name: str) -> Any:
    known = name in _HOMES
    if not known and (
        name.startswith("_") or importlib.util.find_spec(f"spikedriven.{name}") is None
    ):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _LIGHT:
        for home in _HOMES.values():
            importlib.import_module(f"spikedriven.{home}")
    if not known:
        return importlib.import_module(f"spikedriven.{name}")
    found = getattr(importlib.import_module(f"spikedriven.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


import_after("timm", "spikedriven.models")  # its registry knows our names
