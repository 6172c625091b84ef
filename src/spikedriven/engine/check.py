"""`check_plan`: may a plan be run? The one validation of plans, before they are written and after
they are read.

Native code trusts sizes and integer types, and a program file may come from anywhere. A plan that
passes stays inside its maps, and no sum of integers leaves 32 bits whatever the input: the bound of
`scales` is computed again, from the integers themselves. What each operation asks for stands in
`check_operations`.
"""

from typing import Any

from spikedriven.engine.check_fields import check_fields, require
from spikedriven.engine.check_operations import MAX_LEVELS, MAX_VALUES, SCALES, Walk
from spikedriven.engine.program import KINDS, Image, Map, Plan, Port, padded
from spikedriven.errors import InputError

#: Far above what networks need; native code counts in 32 bits.
MAX_STEPS, MAX_SIZE, MAX_BYTES = 2**12, 2**15, 2**33
BYTES = {"spikes": 1, "real": 4}
AXES = "TBCHWN"


def check_plan(plan: Plan) -> None:
    """InputError, naming the operation or map, unless the engine can run ``plan`` safely on
    every input.
    """
    check_fields(plan, "the program")
    require(
        1 <= plan.time_steps <= MAX_STEPS,
        f"time_steps must lie in 1..{MAX_STEPS}, found {plan.time_steps}",
    )
    _check_maps(plan)
    _check_inputs(plan)
    walk = Walk(plan)
    for index, operation in enumerate(plan.operations):
        with_name = f"operation {index} ({type(operation).__name__})"
        try:
            walk.visit(operation)
        except InputError as error:
            raise InputError(f"{with_name}: {error}") from None
    missing = sorted(set(range(len(plan.maps))) - walk.written)
    require(not missing, f"map {missing[:1]} is never written")
    _check_outputs(plan)


def bytes_of(m: Map) -> int:
    """Memory of a map."""
    return m.steps * m.height * m.width * padded(m.channels) * BYTES[m.kind]


def _check_maps(plan: Plan) -> None:
    total = 0
    for index, m in enumerate(plan.maps):
        where = f"map {index}"
        require(
            m.kind in KINDS,
            f"{where}: its kind must be one of {', '.join(KINDS)}, found {m.kind!r}",
        )
        sizes = (m.height, m.width, m.channels)
        inside = all(1 <= size <= MAX_SIZE for size in sizes)
        require(inside, f"{where}: sizes must lie in 1..{MAX_SIZE}, found {sizes}")
        require(
            m.steps in (1, plan.time_steps),
            f"{where}: has {m.steps} steps, expected 1 or {plan.time_steps}",
        )
        values = bytes_of(m) // BYTES[m.kind]
        require(values <= MAX_VALUES, f"{where}: {values} values, more than {MAX_VALUES}")
        _check_counts(m, where)
        total += bytes_of(m)
    require(total <= MAX_BYTES, f"the maps take {total} bytes, more than {MAX_BYTES}")


def _check_counts(m: Map, where: str) -> None:
    if m.kind == "real":
        require((m.levels, m.unit) == (1, 1.0), f"{where}: real values have levels 1 and unit 1.0")
    require(
        1 <= m.levels <= MAX_LEVELS,
        f"{where}: levels must lie in 1..{MAX_LEVELS}, found {m.levels}",
    )
    low, high = SCALES
    require(low <= m.unit <= high, f"{where}: its unit must lie in {low}..{high}, found {m.unit}")


# Ports
# --------------------------------------------------------------------------------------------------


def _check_inputs(plan: Plan) -> None:
    require(len(plan.inputs) >= 1, "a program has an input")
    images = [operation for operation in plan.operations if isinstance(operation, Image)]
    for index, port in enumerate(plan.inputs):
        m = _check_port(plan, port, f"input {index}")
        require(m.kind == "real", f"input {index}: map {port.map} must be real")
        steps = plan.time_steps if "T" in port.axes else 1
        require(
            m.steps == steps,
            f"input {index}: map {port.map} has {m.steps} steps, its axes say {steps}",
        )
    found, wanted = [i.out for i in images], [port.map for port in plan.inputs]
    indices = [i.index for i in images]
    require(
        indices == list(range(len(wanted))) and found == wanted,
        f"each input has one operation Image, in their order; expected maps {wanted}, "
        f"found {found}",
    )


def _check_outputs(plan: Plan) -> None:
    require(len(plan.outputs) >= 1, "a program has an output")
    for index, port in enumerate(plan.outputs):
        m = _check_port(plan, port, f"output {index}")
        fits = m.steps == 1 or "T" in port.axes
        require(
            fits,
            f"output {index}: map {port.map} has {m.steps} steps, but its axes {port.axes!r} have "
            "no T",
        )
    names = [port.name for port in plan.outputs]
    unnamed, named = not any(names), all(names) and len(set(names)) == len(names)
    require(unnamed or named, f"outputs all have a name of their own, or none has; found {names}")


def _check_port(plan: Plan, port: Port, where: str) -> Map:
    axes, index = port.axes, port.map
    known = set(axes) <= set(AXES) and len(set(axes)) == len(axes) and "B" in axes
    require(
        known and not ("N" in axes and set(axes) & {"H", "W"}),
        f"{where}: axes are B and some of T, C, and H and W or N, found {axes!r}",
    )
    require(0 <= index < len(plan.maps), f"{where} is map {index}, but there are {len(plan.maps)}")
    m = plan.maps[index]
    sizes: dict[str, Any] = {"C": m.channels}
    if "N" not in axes:
        sizes |= {"H": m.height, "W": m.width}
    elif "H" not in axes:
        sizes |= {"N": 1}
    large = [axis for axis, size in sizes.items() if size > 1 and axis not in axes]
    require(
        not large,
        f"{where}: map {index} has more than one {'/'.join(large)}, which its axes {axes!r} leave "
        "out",
    )
    return m
