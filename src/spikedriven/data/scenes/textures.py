"""Backgrounds of fashion-scenes: photographs of brick, grass and gravel (CC0) that ship with
the package.
"""

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np

from spikedriven.errors import DataError

EMBEDDED_FILE = Path(__file__).parents[1] / "embedded" / "scene-textures.npz"
EMBEDDED_SHA256 = "0808ddfa32ebd6d62546c7ed842924775c061d0850560481c7985e99e045235d"


@cache
def load_textures(split: str) -> np.ndarray:
    """Grey uint8 [3, 256, 256] of the split "train" or "test"; the two share no pixel.
    DataError for a damaged file.
    """
    try:
        content = EMBEDDED_FILE.read_bytes()
    except OSError as error:
        raise DataError(
            f"{EMBEDDED_FILE} is missing from the installation; install the package again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataError(
            f"{EMBEDDED_FILE} is damaged: sha256 {found}, expected {EMBEDDED_SHA256}; install the "
            "package again"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return archive[split]
