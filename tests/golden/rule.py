"""Rule-1 weights and inputs: what the golden files were computed with. No checkpoint is needed.

Each tensor comes from its own generator, seeded by the CRC of its name in the authors' spelling.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent
INDEX = json.loads((FOLDER / "index.json").read_text())


def load(name: str) -> dict:
    return json.loads((FOLDER / name).read_text())


def files(*models: str) -> list[str]:
    """Golden files, present in this folder, whose registered name starts with one of ``models``."""
    return [f for f, entry in INDEX.items() if entry["model"].startswith(models) and (FOLDER / f).exists()]


def weights(golden: dict) -> dict[str, Tensor]:
    return {key: _tensor(key, tuple(shape), golden) for key, shape, *_ in golden["state_dict"]}


def _tensor(key: str, shape: tuple[int, ...], golden: dict) -> Tensor:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    last = key.rpartition(".")[2]
    overrides, constants = golden.get("overrides") or {}, golden.get("constants") or {}
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if last in overrides:
        value = rng.uniform(*overrides[last][-2:], shape)  # ["uniform", low, high]
    elif key.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * rng.standard_normal(shape)
    elif key in constants or last in constants:
        constant = constants.get(key, constants.get(last))
        value = np.full(shape, constant["value"] if isinstance(constant, dict) else constant)
    elif len(shape) == 1 and key.endswith("weight"):
        value = golden.get("norm_gain", 1.0) * rng.uniform(0.8, 1.6, shape)
    elif len(shape) == 1 and key.endswith("bias"):
        value = 0.2 * rng.standard_normal(shape)
    else:
        value = golden.get("gain", 1.0) * rng.standard_normal(shape) * math.sqrt(2 / np.prod(shape[1:]))
    return torch.as_tensor(value, dtype=torch.float64)


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
