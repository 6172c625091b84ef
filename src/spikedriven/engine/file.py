"""A program as one safetensors file: the arrays, and under one key of the metadata a JSON text that says the rest.

Arrays are named by operation and field ("3.weight"). The JSON holds the format and its version, the plan (fields of
the dataclasses of `program`, operations with their class name), and SHA-256 sums of the plan's JSON and of every array.
Nothing is unpickled. A file that was changed anywhere is refused, and so is a whole one that the engine could not run
safely (`check`). The same plan always gives the same bytes.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from spikedriven.engine.check import check_plan
from spikedriven.engine.compiled import Program
from spikedriven.engine.program import OPERATIONS, IntegerSpec, LIFSpec, Map, Plan
from spikedriven.errors import CheckpointError, InputError
from spikedriven.training.files import replace_file

KEY, FORMAT, VERSION = "spikedriven", "spikedriven program", 1
NEURONS = {"lif": LIFSpec, "integer": IntegerSpec}

Arrays = dict[str, NDArray[Any]]


def load_program(path: str | os.PathLike[str], native: bool | None = None) -> Program:
    """A program written by ``Program.save`` or ``spikedriven compile``; it computes the bits that it computed then.

    native: see `Program`. Raises CheckpointError where the file is missing, damaged, of another kind or version, or
    asks for something that the engine could not do safely.
    """
    return Program(load(path), native)


def save(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write a plan; a file of that name is replaced in one step. InputError for a plan that could not be loaded."""
    path = Path(path)
    check_plan(plan)
    described, arrays = _described(plan)
    text = _text(
        {
            "format": FORMAT,
            "version": VERSION,
            "plan": described,
            "sha256": _sums(described, arrays),
        }
    )
    try:
        replace_file(path, safetensors.numpy.save(arrays, {KEY: text}))
    except OSError as error:
        raise CheckpointError(f"{path}: the program cannot be written ({error.strerror or error}); free disk space or "
                              "name another file") from error  # fmt: skip


def load(path: str | os.PathLike[str]) -> Plan:
    """Read and check a plan. CheckpointError as `load_program`."""
    path = Path(path)
    try:
        return _plan(*_read(path.read_bytes()))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except InputError as error:
        raise CheckpointError(
            f"{path}: {error}. Write it again with `spikedriven compile` or Program.save"
        ) from error


# Bytes ------------------------------------------------------------------------------------------------------------


def _read(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """The description and the arrays of a file, both as they were written."""
    try:
        arrays = safetensors.numpy.load(data)
        header = data[8 : 8 + int.from_bytes(data[:8], "little")].rstrip(b" ")
        text = json.loads(header)["__metadata__"][KEY]
        found = json.loads(text)
        kind, version, canonical = found["format"], found["version"], _text(found)
    except Exception as error:  # whatever bytes that are no such file make the two readers raise
        raise InputError(
            f"no program file, or a damaged one ({type(error).__name__}: {error})"
        ) from error
    if kind != FORMAT or type(version) is not int or version != VERSION:
        raise InputError(
            f"found {kind!r} version {version!r}, but this spikedriven reads {FORMAT!r} version {VERSION}"
        )
    if (
        not header.endswith(b"}")
        or text != canonical
        or found.keys() != {"format", "version", "plan", "sha256"}
    ):
        raise InputError("damaged: its description is not as it was written")
    _check_sums(found["sha256"], _sums(found["plan"], arrays))
    return found["plan"], arrays


def _check_sums(expected: Any, sums: dict[str, str]) -> None:
    if not isinstance(expected, dict) or expected.keys() != sums.keys():
        named = sums.keys() ^ (expected.keys() if isinstance(expected, dict) else ())
        raise InputError(f"damaged: arrays are missing or too many: {', '.join(sorted(named))}")
    for name, value in sums.items():
        if expected[name] != value:
            raise InputError(f"damaged: {name!r} is not what was written (its SHA-256 differs)")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sums(described: Any, arrays: Arrays) -> dict[str, str]:
    """SHA-256 of the plan's JSON, and of each array's type, shape and bytes."""
    sums = {"plan": hashlib.sha256(_text(described).encode()).hexdigest()}
    for name, array in arrays.items():
        summed = hashlib.sha256(f"{array.dtype.str} {list(array.shape)} ".encode())
        summed.update(np.ascontiguousarray(array).reshape(-1).data)
        sums[name] = summed.hexdigest()
    return sums


# Plan to JSON and back --------------------------------------------------------------------------------------------


def _described(plan: Plan) -> tuple[dict[str, Any], Arrays]:
    """A plan as JSON values, and its arrays by name."""
    arrays: Arrays = {}
    operations = []
    for index, operation in enumerate(plan.operations):
        values = {
            field.name: getattr(operation, field.name) for field in dataclasses.fields(operation)
        }
        own = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        arrays |= {f"{index}.{name}": np.ascontiguousarray(array) for name, array in own.items()}
        plain = {name: _plain(value) for name, value in values.items() if name not in own}
        operations.append({"operation": type(operation).__name__, **plain})
    top = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    return {
        **top,
        "maps": [dataclasses.asdict(m) for m in plan.maps],
        "operations": operations,
    }, arrays


def _plain(value: Any) -> Any:
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )


def _plan(described: Any, arrays: Arrays) -> Plan:
    """The plan of a description, checked; InputError says what is wrong."""
    left = dict(arrays)
    top = _fields(Plan, described, "the program")
    maps = [_made(Map, value, f"map {i}") for i, value in enumerate(_list(top["maps"], "maps"))]
    operations = [
        _operation(value, i, left) for i, value in enumerate(_list(top["operations"], "operations"))
    ]
    if left:
        raise InputError(f"arrays that no operation has: {', '.join(sorted(left))}")
    plan = Plan(**{**top, "maps": tuple(maps), "operations": tuple(operations)})
    check_plan(plan)
    return plan


def _operation(described: Any, index: int, arrays: Arrays) -> Any:
    """One operation with its arrays, which are taken out of ``arrays``."""
    where = f"operation {index}"
    name = described.get("operation") if isinstance(described, dict) else None
    if not isinstance(name, str) or name not in OPERATIONS:
        raise InputError(
            f"{where}: unknown operation {name!r}, expected one of {', '.join(OPERATIONS)}"
        )
    kind = OPERATIONS[name]
    own = {field.name for field in dataclasses.fields(kind)} & {
        "weight",
        "scale",
        "bias",
    } - described.keys()
    missing = [f"{index}.{field}" for field in sorted(own) if f"{index}.{field}" not in arrays]
    if missing:
        raise InputError(f"{where}: the array {missing[0]!r} is missing")
    values = {**described, **{field: arrays.pop(f"{index}.{field}") for field in own}}
    del values["operation"]
    if values.get("neuron") is not None:
        values["neuron"] = _neuron(values["neuron"], where)
    return _made(kind, values, where)


def _neuron(described: Any, where: str) -> Any:
    kind = described.get("kind") if isinstance(described, dict) else None
    if not isinstance(kind, str) or kind not in NEURONS:
        raise InputError(f"{where}: unknown neuron {kind!r}, expected one of {', '.join(NEURONS)}")
    return _made(NEURONS[kind], described, where)


def _made(kind: type, values: Any, where: str) -> Any:
    return kind(**_fields(kind, values, where))


def _fields(kind: type, values: Any, where: str) -> dict[str, Any]:
    """The values, if they are an object with exactly the fields of a dataclass."""
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(values, dict) or values.keys() != names:
        wrong = (
            sorted(names ^ values.keys()) if isinstance(values, dict) else [type(values).__name__]
        )
        raise InputError(
            f"{where}: missing or unknown fields of {kind.__name__}: {', '.join(wrong)}"
        )
    return values


def _list(values: Any, name: str) -> Iterable[Any]:
    if not isinstance(values, list):
        raise InputError(f"{name} must be a list, found {type(values).__name__}")
    return values
