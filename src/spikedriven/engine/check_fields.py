"""Do the fields of a plan hold what their annotations say? Files are read into dataclasses,
which do not look.
"""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from spikedriven.engine.program import OPERATIONS
from spikedriven.errors import InputError


def require(holds: bool, why: str) -> None:
    """InputError unless it holds."""
    if not holds:
        raise InputError(why)


def check_fields(value: Any, where: str) -> None:
    """Every field of a dataclass holds what its annotation says, numbers that 32 bits hold,
    nothing NaN or infinite.
    """
    hints = typing.get_type_hints(type(value))
    for field in fields(value):
        found, name = getattr(value, field.name), f"{where}: {field.name}"
        if not _fits(found, hints[field.name]):
            raise InputError(f"{name} has the wrong type or value: {_shown(found)}")
        members = found if isinstance(found, tuple) else (found,)
        for index, member in enumerate(members):
            if is_dataclass(member):
                check_fields(member, f"{name} {index}" if isinstance(found, tuple) else name)


def array_fields(kind: type) -> set[str]:
    """Names of the fields of a dataclass that hold arrays."""
    return {name for name, hint in typing.get_type_hints(kind).items() if _is_array_hint(hint)}


def tuple_fields(kind: type) -> set[str]:
    """Names of the fields of a dataclass that hold tuples."""
    return {
        name
        for name, hint in typing.get_type_hints(kind).items()
        if typing.get_origin(hint) is tuple
    }


def _is_array_hint(hint: Any) -> bool:
    return any(typing.get_origin(part) is np.ndarray for part in (hint, *typing.get_args(hint)))


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return type(value) is tuple and _members_fit(value, parts)
    if origin is np.ndarray:
        return _is_array(value, typing.get_args(parts[1])[0])
    if hint is int:
        return type(value) is int and abs(value) < 2**31
    if hint is float:
        return type(value) is float and abs(value) <= float(np.finfo(np.float32).max)
    return type(value) is hint


def _members_fit(value: tuple[Any, ...], parts: tuple[Any, ...]) -> bool:
    """tuple[int, int] has so many members, tuple[int, ...] any number; Any stands for an
    operation.
    """
    if parts[-1] is not Ellipsis:
        return len(value) == len(parts) and all(map(_fits, value, parts))
    kinds = OPERATIONS.values() if parts[0] is Any else parts[:1]
    return all(any(_fits(member, kind) for kind in kinds) for member in value)


def _is_array(value: Any, dtype: type) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtype and bool(np.isfinite(value).all())


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        finite = "" if np.isfinite(value).all() else " with NaN or infinity"
        return f"an array {value.dtype} {list(value.shape)}{finite}"
    return repr(value) if isinstance(value, (int, float, str, bool)) else type(value).__name__
