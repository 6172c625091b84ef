"""The body of a request as a picture; nothing in it is believed."""

import json
from typing import Any, NoReturn

import numpy as np

from spikedriven.errors import InputError

SIDE = 28
EXPECTED = (
    f'{{"pixels": [...]}} with {SIDE} rows of {SIDE} whole numbers from 0 (black) to 255 (white)'
)


def read_pixels(body: bytes) -> np.ndarray:
    """uint8 [28, 28]; InputError, in one sentence, for anything else than `EXPECTED`."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the request is no JSON ({str(error)[:60]}); expected {EXPECTED}"
        ) from error
    if not isinstance(value, dict) or value.keys() != {"pixels"}:
        raise InputError(f"expected {EXPECTED}")
    rows = value["pixels"]
    if not isinstance(rows, list) or len(rows) != SIDE:
        raise InputError(f"pixels: found {_length(rows)}; expected {EXPECTED}")
    return np.array([_row(row, i) for i, row in enumerate(rows)], np.uint8)


def _row(row: Any, index: int) -> list[int]:
    if not isinstance(row, list) or len(row) != SIDE:
        raise InputError(f"pixels: row {index} is {_length(row)}; expected {EXPECTED}")
    for value in row:
        if type(value) is not int or not 0 <= value <= 255:
            raise InputError(f"pixels: row {index} holds {str(value)[:20]}; expected {EXPECTED}")
    return row


def _length(value: Any) -> str:
    return (
        f"a list of {len(value)}"
        if isinstance(value, list)
        else f"no list but {type(value).__name__}"
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
