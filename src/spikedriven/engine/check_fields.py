"""Do the fields of a plan hold what their annotations say? Files are read into dataclasses, which do not look."""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from spikedriven.engine.program import OPERATIONS
from spikedriven.errors import InputError


def check_fields(value: Any, where: str) -> None:
    """Every field of a dataclass holds what its annotation says, numbers that 32 bits hold, nothing NaN or infinite."""
    hints = typing.get_type_hints(type(value))
    for field in fields(value):
        found, name = getattr(value, field.name), f"{where}: {field.name}"
        if not _fits(found, hints[field.name]):
            raise InputError(f"{name} has the wrong type or value: {_shown(found)}")
        members = found if isinstance(found, tuple) else (found,)
        for index, member in enumerate(members):
            if is_dataclass(member):
                check_fields(member, f"{name} {index}" if isinstance(found, tuple) else name)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:  # of maps, or of operations
        kinds = tuple(OPERATIONS.values()) if parts[0] is Any else parts[:1]
        return type(value) is tuple and all(type(member) in kinds for member in value)
    if origin is np.ndarray:
        return _is_array(value, typing.get_args(parts[1])[0])
    if hint is int:
        return type(value) is int and abs(value) < 2**31
    if hint is float:
        return type(value) is float and abs(value) <= float(np.finfo(np.float32).max)
    return type(value) is hint


def _is_array(value: Any, dtype: type) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtype and bool(np.isfinite(value).all())


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        finite = "" if np.isfinite(value).all() else " with NaN or infinity"
        return f"an array {value.dtype} {list(value.shape)}{finite}"
    return repr(value) if isinstance(value, (int, float, str, bool)) else type(value).__name__
