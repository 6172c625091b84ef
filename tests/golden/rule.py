"""Rule-1 weights and inputs: what the golden files were computed with. No checkpoint is needed.

Each tensor comes from its own generator, seeded by the CRC of its name in the authors' spelling.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikedriven.bench.rule import rule_tensor

FOLDER = Path(__file__).parent
INDEX = json.loads((FOLDER / "index.json").read_text())


def load(name: str) -> dict:
    return json.loads((FOLDER / name).read_text())


def files(*models: str) -> list[str]:
    """Golden files, present in this folder, whose registered name starts with one of ``models``."""
    return [
        f
        for f, entry in INDEX.items()
        if entry["model"].startswith(models) and (FOLDER / f).exists()
    ]


def weights(golden: dict) -> dict[str, Tensor]:
    options = {
        "gain": golden.get("gain", 1.0),
        "norm_gain": golden.get("norm_gain", 1.0),
        "uniform": {
            last: limits[-2:] for last, limits in (golden.get("overrides") or {}).items()
        },  # after "uniform"
        "constants": {
            key: _value(constant) for key, constant in (golden.get("constants") or {}).items()
        },
    }
    return {
        key: rule_tensor(key, tuple(shape), **options) for key, shape, *_ in golden["state_dict"]
    }


def _value(constant: dict | float) -> float:
    return constant["value"] if isinstance(constant, dict) else constant


def inputs(golden: dict) -> Tensor:
    """The input batch in our public layout."""
    rng = np.random.Generator(np.random.PCG64(7))
    shape, layout = golden["input_shape"], golden.get("input_layout", "[B,C,H,W]")
    events = "poisson" in str(golden.get("input_kind", ""))
    x = rng.poisson(0.3, shape) if events else rng.standard_normal(shape)
    x = torch.as_tensor(x, dtype=torch.float64)
    return x.transpose(0, 1) if layout.lstrip("[").startswith("T") else x


def mask_noise(golden: dict) -> Tensor:
    """What decides which patches a masked autoencoder hides."""
    shape = (len(golden["mask"]["active"]), len(golden["mask"]["active"][0]))
    return torch.as_tensor(np.random.Generator(np.random.PCG64(11)).random(shape))
