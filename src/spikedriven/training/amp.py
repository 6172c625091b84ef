"""Autocast by the names that recipes use."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(amp: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context for "none", "bf16" or "fp16". Neurons keep their membranes in float32 under
    it.
    """
    return nullcontext() if amp == "none" else torch.autocast(device.type, dtype=_DTYPES[amp])
