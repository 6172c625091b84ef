"""Libraries that read a format, taken in where they are needed, so that nobody needs them who has
no such file.
"""

import importlib
from pathlib import Path
from typing import Any

from spikedriven.errors import DataError


def library(name: str, package: str, path: Path, format: str) -> Any:
    """The module `name` of PyPI's `package`. DataError naming the extra where it is not
    installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"{path}: {format} is read by the package {package}, which cannot be imported "
            f"({error}); "
            "pip install 'spikedriven[events]'"
        ) from error
