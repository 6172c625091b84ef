"""Between tensors or arrays outside and maps inside: the order of axes that a `Port` names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.arrays import Values, as_array, described, is_real
from spikedriven.engine.program import Map, Plan, Port
from spikedriven.errors import InputError

Array = NDArray[np.float32]


def shape_text(port: Port, m: Map) -> str:
    """Shape of a tensor outside, such as "[B, 3, 32, 32]"."""
    return f"[{', '.join('B' if size is None else str(size) for size in _sizes(port, m))}]"


def taken(plan: Plan, inputs: Sequence[Values]) -> list[Array]:
    """Inputs as maps of a batch, float32 [B, steps, height, width, channels]; views where types
    allow it.

    InputError unless there are as many as the program takes, of its shapes, of one batch, and
    finite.
    """
    if len(inputs) != len(plan.inputs):
        raise InputError(f"this program takes {len(plan.inputs)} inputs, found {len(inputs)}")
    maps = [
        _taken(x, port, plan.maps[port.map]) for x, port in zip(inputs, plan.inputs, strict=True)
    ]
    batches = {len(values) for values in maps}
    if len(batches) > 1:
        raise InputError(
            f"the inputs of a program are of one batch, found {sorted(batches)} samples"
        )
    return maps


def handed(values: NDArray[Any], port: Port, m: Map, steps: int) -> NDArray[np.float32]:
    """Maps of a batch, [B, steps, height, width, channels], as an array in the axes of a port;
    steps: of the plan.
    """
    if m.kind == "spikes":
        values = values.astype(np.float32) * np.float32(m.unit)
    order = "BTHWC"
    if "T" in port.axes:
        values = np.broadcast_to(values, (len(values), steps, *values.shape[2:]))
    if "N" in port.axes:
        values, order = values.reshape(*values.shape[:2], -1, values.shape[-1]), "BTNC"
    kept = [axis for axis in order if axis in port.axes]
    values = values.reshape(
        [size for axis, size in zip(order, values.shape, strict=True) if axis in kept]
    )
    ordered = values.transpose([kept.index(axis) for axis in port.axes])
    return np.require(ordered, requirements=["C", "W"])


def _sizes(port: Port, m: Map) -> list[int | None]:
    sizes = {"T": m.steps, "C": m.channels, "H": m.height, "W": m.width, "N": m.height * m.width}
    return [sizes.get(axis) for axis in port.axes]


def _taken(x: Values, port: Port, m: Map) -> Array:
    sizes = _sizes(port, m)
    fits = is_real(x) and x.ndim == len(sizes) and 0 not in x.shape
    if not fits or any(
        size not in (None, found) for size, found in zip(sizes, x.shape, strict=True)
    ):
        named = f" as {port.name!r}" if port.name else ""
        raise InputError(
            f"this program takes floating point {shape_text(port, m)}{named}, found "
            f"{described(x)}; compile "
            "again for another size"
        )
    values = as_array(x)
    if not np.isfinite(values).all():
        raise InputError("the input holds NaN or infinity")
    order = [axis for axis in "BTNHWC" if axis in port.axes]
    values = values.transpose([port.axes.index(axis) for axis in order])
    return values.reshape(len(values), m.steps, m.height, m.width, m.channels)
