"""Entry points for `torch.hub`: every registered network by name.

    model = torch.hub.load("OWNER/spikedriven", "e_spikeformer_fashion", pretrained=True)

Keywords are those of `spikedriven.create_model`. Where the package is not installed, the sources of
this repository are used, without their compiled engine.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

dependencies = [
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "numpy",
    "PIL",
    "yaml",
    "tyro",
    "rich",
]

if importlib.util.find_spec("spikedriven") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

spikedriven = importlib.import_module("spikedriven")  # after the line above
timm = importlib.import_module("timm")

globals().update({name: timm.models.model_entrypoint(name) for name in spikedriven.list_models()})
