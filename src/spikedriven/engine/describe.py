"""What a plan is, in a few lines, and the memory that it needs."""

from collections import Counter
from typing import Any

import numpy as np

from spikedriven.engine.check import bytes_of
from spikedriven.engine.check_fields import array_fields
from spikedriven.engine.ports import shape_text
from spikedriven.engine.program import LinearAttention, Plan, Port, WeightLayer, padded

#: The compiled engine computes so many columns at a time, and stores weights for these.
BLOCK = 64


def table(plan: Plan, is_native: bool) -> str:
    """A short table: what goes in and out, the operations, weights and memory."""
    rows = [(f"input {i}", _port(plan, port)) for i, port in enumerate(plan.inputs)]
    rows += [(f"output {i}", _port(plan, port)) for i, port in enumerate(plan.outputs)]
    kinds = Counter(_kind(operation) for operation in plan.operations)
    rows += [("time steps", str(plan.time_steps)), ("operations", str(len(plan.operations)))]
    rows += [(f"  {kind}", str(number)) for kind, number in sorted(kinds.items())]
    rows.append(("weights", f"{_weights(plan):,} values"))
    rows.append(
        ("maps", f"{len(plan.maps)}, {megabytes(sum(map(bytes_of, plan.maps)))} if all were kept")
    )
    rows.append(("runs in", "the compiled engine" if is_native else "the readable twin"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        ["spikedriven program", *(f"  {name:<{width}}  {value}" for name, value in rows)]
    )


def operation_records(plan: Plan) -> list[dict[str, Any]]:
    """One row an operation, for tables: its place, kind, how it is computed, weights, bytes of
    its arrays.
    """
    return [
        {
            "operation": i,
            "kind": type(operation).__name__,
            "mode": getattr(operation, "mode", ""),
            "weights": int(operation.weight.size) if hasattr(operation, "weight") else 0,
            "bytes": sum(array.nbytes for array in _arrays(operation)),
        }
        for i, operation in enumerate(plan.operations)
    ]


def needed_bytes(plan: Plan) -> int:
    """Upper bound of the memory that a plan takes to run: its maps, its weights, products of
    attention.
    """
    return sum(map(bytes_of, plan.maps)) + sum(
        _operation_bytes(operation, plan) for operation in plan.operations
    )


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _port(plan: Plan, port: Port) -> str:
    m = plan.maps[port.map]
    named = f" {port.name}" if port.name else ""
    return f"{shape_text(port, m)} {port.axes}{named}"


def _kind(operation: Any) -> str:
    name = type(operation).__name__
    return f"{name} ({operation.mode})" if isinstance(operation, WeightLayer) else name


def _arrays(operation: Any) -> list[np.ndarray[Any, Any]]:
    return [getattr(operation, name) for name in array_fields(type(operation))]


def _weights(plan: Plan) -> int:
    weighted = [operation for operation in plan.operations if hasattr(operation, "weight")]
    return int(sum(operation.weight.size for operation in weighted))


def _operation_bytes(operation: Any, plan: Plan) -> int:
    """Arrays twice, as they are and as the compiled engine stores them."""
    own = sum(array.nbytes for array in _arrays(operation))
    if isinstance(operation, WeightLayer):
        outputs, depth, height, width = operation.weight.shape
        stored = -(-outputs // BLOCK) * BLOCK * (height * width * padded(depth) + 2)
        return own + stored * operation.weight.itemsize
    if isinstance(operation, LinearAttention):
        q, v = plan.maps[operation.q], plan.maps[operation.v]
        return 4 * q.steps * q.channels * padded(v.channels // operation.heads)
    return 2 * own
