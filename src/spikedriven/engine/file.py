"""A program as one safetensors file: the arrays, and under one key of the metadata a JSON text that
says the rest.

Arrays are named by operation and field ("3.weight"). The JSON holds the format and its version, the
plan (fields of the dataclasses of `program`, operations with their class name), names of the
outputs where the network had them, and SHA-256 sums of the plan's JSON, of the names and of every
array. Nothing is unpickled. A file that was changed anywhere is refused, and so is a whole one that
the engine could not run safely (`check`). The same plan always gives the same bytes.
"""

import dataclasses
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from spikedriven.engine.check import check_plan
from spikedriven.engine.check_fields import array_fields, tuple_fields
from spikedriven.engine.describe import megabytes, needed_bytes
from spikedriven.engine.program import OPERATIONS, Map, Plan, Port, WeightLayer
from spikedriven.errors import CheckpointError, InputError
from spikedriven.files import replace_file
from spikedriven.kernels.spec import IntegerSpec, LIFSpec

KEY, FORMAT, VERSION = "spikedriven", "spikedriven program", 3
#: Version 2 had no weights of 8 bits, and some of 23, which are compiled again.
READABLE = (2, VERSION)
NEURONS = {"lif": LIFSpec, "integer": IntegerSpec}
#: The types of arrays as safetensors names them; which of them a field may have, `check_fields`
#: says.
TYPES = {
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BOOL": np.bool_,
}
#: Fields of a plan that are lists of one class.
PORTS: dict[str, type] = {"maps": Map, "inputs": Port, "outputs": Port}

Arrays = dict[str, NDArray[Any]]


#: Of files and of programs that are read without being asked for more.
MAX_BYTES = 2**31


def save(plan: Plan, path: str | os.PathLike[str], classes: Sequence[str] = ()) -> None:
    """Write a plan; a file of that name is replaced in one step. InputError for a plan that could
    not be loaded.

    classes: names of the outputs, which nothing is computed from.
    """
    path = Path(path)
    check_plan(plan)
    described, arrays = _described(plan)
    named = {"classes": list(classes)} if classes else {}
    sums = _sums(described, arrays, classes)
    text = _text({"format": FORMAT, "version": VERSION, "plan": described, "sha256": sums, **named})
    try:
        replace_file(path, safetensors.numpy.save(arrays, {KEY: text}))
    except OSError as error:
        raise CheckpointError(
            f"{path}: the program cannot be written ({error.strerror or error}); free disk space "
            "or name another file"
        ) from error


def load(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Plan:
    """Read and check a plan; see `load_named`."""
    return load_named(path, max_bytes)[0]


def load_named(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES
) -> tuple[Plan, tuple[str, ...]]:
    """Read and check a plan, and the names of its outputs, if it has them.

    CheckpointError where the file is missing, damaged, of another kind or version, needs more
    memory, or asks for something that the engine could not do safely.
    """
    path = Path(path)
    if type(max_bytes) is not int or max_bytes < 1:
        raise InputError(f"max_bytes must be a positive whole number, found {max_bytes!r}")
    try:
        described, arrays, classes = _read(_bytes(path, max_bytes))
        plan = _plan(described, arrays)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except InputError as error:
        raise CheckpointError(
            f"{path}: {error}. Write it again with `spikedriven compile` or Program.save"
        ) from error
    needed = needed_bytes(plan)
    if needed > max_bytes:
        raise CheckpointError(
            f"{path}: this program needs up to {megabytes(needed)}, more than the limit of "
            f"{megabytes(max_bytes)}; if you trust it, load it with max_bytes={needed}"
        )
    return plan, classes


def _bytes(path: Path, max_bytes: int) -> bytearray:
    """The content of a file; CheckpointError for what is no file, or too large."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: is no file; name a program written by Program.save")
    if status.st_size > max_bytes:
        raise CheckpointError(
            f"{path}: a file of {megabytes(status.st_size)}, more than the limit of "
            f"{megabytes(max_bytes)}; if you trust it, load it with max_bytes={2 * status.st_size}"
        )
    data = bytearray(status.st_size)
    with path.open("rb") as file:
        read = file.readinto(data)
    return data[:read] if read < len(data) else data


# Bytes
# --------------------------------------------------------------------------------------------------


def _read(data: bytearray) -> tuple[dict[str, Any], Arrays, tuple[str, ...]]:
    """The description, the arrays and the names of the outputs of a file, all as they were
    written."""
    try:
        header = bytes(data[8 : 8 + int.from_bytes(data[:8], "little")]).rstrip(b" ")
        named = json.loads(header)
        text = named.pop("__metadata__")[KEY]
        arrays = _views(named, data)
        found = json.loads(text)
        kind, version, canonical = found["format"], found["version"], _text(found)
    except Exception as error:  # whatever bytes that are no such file make the two readers raise
        raise InputError(
            f"no program file, or a damaged one ({type(error).__name__}: {error})"
        ) from error
    if kind != FORMAT or type(version) is not int or version not in READABLE:
        raise InputError(
            f"found {kind!r} version {version!r}, but this spikedriven reads {FORMAT!r} versions "
            f"{READABLE[0]} to {VERSION}; "
            "compile the network again"
        )
    known = {"format", "version", "plan", "sha256"}
    if not header.endswith(b"}") or text != canonical or found.keys() - {"classes"} != known:
        raise InputError("damaged: its description is not as it was written")
    names = found.get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("damaged: its names of classes are not as they were written")
    _check_sums(found["sha256"], _sums(found["plan"], arrays, names))
    return found["plan"], arrays, tuple(names)


def _views(named: dict[str, Any], data: bytearray) -> Arrays:
    """Arrays that lie in the bytes of the file, which is the one copy of them. ValueError
    unless they fill it.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    arrays: Arrays = {}
    reached = 0
    for name, entry in sorted(named.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        if first != reached:
            raise ValueError(f"{name} does not begin where the array before it ends")
        values, place = math.prod(entry["shape"]), start + first
        view: np.ndarray[Any, Any] = np.frombuffer(data, TYPES[entry["dtype"]], values, place)
        reached = first + view.nbytes
        if last != reached:
            raise ValueError(f"{name} does not end where its shape ends")
        view = view.reshape(entry["shape"])
        arrays[name] = view if view.flags.aligned else view.copy()
    if start + reached != len(data):
        raise ValueError("the file goes on behind its arrays")
    return arrays


def _check_sums(expected: Any, sums: dict[str, str]) -> None:
    if not isinstance(expected, dict) or expected.keys() != sums.keys():
        named = sums.keys() ^ (expected.keys() if isinstance(expected, dict) else ())
        raise InputError(f"damaged: arrays are missing or too many: {', '.join(sorted(named))}")
    for name, value in sums.items():
        if expected[name] != value:
            raise InputError(f"damaged: {name!r} is not what was written (its SHA-256 differs)")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sums(described: Any, arrays: Arrays, classes: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of the JSON of the plan and of the names, and of each array's type, shape and
    bytes.
    """
    texts = {"plan": _text(described)} | ({"classes": _text(list(classes))} if classes else {})
    sums = {key: hashlib.sha256(text.encode()).hexdigest() for key, text in texts.items()}
    for name, array in arrays.items():
        summed = hashlib.sha256(f"{array.dtype.str} {list(array.shape)} ".encode())
        summed.update(np.ascontiguousarray(array).reshape(-1).data)
        sums[name] = summed.hexdigest()
    return sums


# Plan to JSON and back
# --------------------------------------------------------------------------------------------


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
    ports = {name: [dataclasses.asdict(value) for value in top[name]] for name in PORTS}
    return {**top, **ports, "operations": operations}, arrays


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, tuple):
        return list(value)
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )


def _plan(described: Any, arrays: Arrays) -> Plan:
    """The plan of a description, checked; InputError says what is wrong."""
    left = dict(arrays)
    top = _fields(Plan, described, "the program")
    ports = {
        name: tuple(
            _made(kind, value, f"{name} {i}") for i, value in enumerate(_list(top[name], name))
        )
        for name, kind in PORTS.items()
    }
    operations = [
        _operation(value, i, left) for i, value in enumerate(_list(top["operations"], "operations"))
    ]
    if left:
        raise InputError(f"arrays that no operation has: {', '.join(sorted(left))}")
    plan = Plan(**{**top, **ports, "operations": tuple(operations)})
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
    own = array_fields(kind) - described.keys()
    missing = [f"{index}.{field}" for field in sorted(own) if f"{index}.{field}" not in arrays]
    if missing:
        raise InputError(f"{where}: the array {missing[0]!r} is missing")
    values = {**described, **{field: arrays.pop(f"{index}.{field}") for field in own}}
    del values["operation"]
    if values.get("neuron") is not None:
        values["neuron"] = _neuron(values["neuron"], where)
    if kind is WeightLayer and values["weight"].dtype == np.int32:
        raise InputError(
            f"{where} ({name}): weights of 23 bits are no more; compile the network again"
        )
    return _made(kind, values, where)


def _neuron(described: Any, where: str) -> Any:
    kind = described.get("kind") if isinstance(described, dict) else None
    if not isinstance(kind, str) or kind not in NEURONS:
        raise InputError(f"{where}: unknown neuron {kind!r}, expected one of {', '.join(NEURONS)}")
    return _made(NEURONS[kind], described, where)


def _made(kind: type, values: Any, where: str) -> Any:
    found = _fields(kind, values, where)
    tuples = {name: tuple(_list(found[name], f"{where}: {name}")) for name in tuple_fields(kind)}
    return kind(**{**found, **tuples})


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
