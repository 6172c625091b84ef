"""Pools, sums, products and weight layers: what they make of a `SubSteps`.

Of a product one operand stays binary and the other is accumulated first; a weight layer accumulates
over the planes and adds its bias once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from spikedriven.graph.substeps import SubSteps, called_name, only_first, plane_by_plane, rule

_WINDOWS = "1d 2d 3d"


def _merged(function: Callable[[Tensor], Tensor], planes: Tensor) -> Tensor:
    """A function of [N, ...] maps on planes [D, N, ...]."""
    return function(planes.flatten(0, 1)).unflatten(0, planes.shape[:2])


@rule(
    " ".join(f"{kind}{n}" for n in _WINDOWS.split() for kind in ("max_pool", "adaptive_max_pool"))
)
def _max_pool(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    if kwargs.get("return_indices"):
        return NotImplemented
    if not x.ordered:
        return _of_the_count(func, args, kwargs)
    return x.like(_merged(lambda maps: func(maps, *given, **kwargs), x.planes))


@rule("amax")
def _amax(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    return (
        plane_by_plane(func, x, tuple(given), kwargs)
        if x.ordered
        else _of_the_count(func, args, kwargs)
    )


@rule("relu")
def _of_the_count(func: Any, args: tuple, kwargs: dict) -> Any:
    """f(unit n) = unit f(n) for a positive unit."""
    x, *given = args
    return (
        SubSteps.total(func(x.counts(), *given, **kwargs), x.unit) if x.unit > 0 else NotImplemented
    )


@rule(
    " ".join(f"{kind}{n}" for n in _WINDOWS.split() for kind in ("avg_pool", "adaptive_avg_pool"))
)
def _average_pool(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    return SubSteps.total(func(x.counts(), *given, **kwargs), x.unit)


@rule("interpolate pixel_shuffle pixel_unshuffle")
def _resample(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    mode = kwargs.get("mode", given[2] if len(given) > 2 else "nearest")
    if called_name(func) == "interpolate" and not mode.startswith("nearest"):
        return SubSteps.total(func(x.counts(), *given, **kwargs), x.unit)
    return x.like(_merged(lambda maps: func(maps, *given, **kwargs), x.planes))


@rule("sum mean")
def _reduce(func: Any, args: tuple, kwargs: dict) -> Any:
    """Of the accumulated count: addition has no order."""
    x, *given = args
    return SubSteps.total(func(x.counts(), *given, **kwargs), x.unit)


# Factors and sums
# ------------------------------------------------------------------------------------------------


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


@rule("mul")
def _multiply(func: Any, args: tuple, kwargs: dict) -> Any:
    left, right = args
    for x, factor in ((left, right), (right, left)):
        if isinstance(x, SubSteps) and _number(factor):
            return x.with_unit(x.unit * factor)
    return _product(torch.mul, left, right)


@rule("div")
def _divide(func: Any, args: tuple, kwargs: dict) -> Any:
    x, divisor = args
    if not isinstance(x, SubSteps) or not _number(divisor) or kwargs.get("rounding_mode"):
        return NotImplemented
    return x.with_unit(x.unit / divisor)


@rule("add")
def _add(func: Any, args: tuple, kwargs: dict) -> Any:
    """Two counts on one scale have the planes of both."""
    left, right = args
    both = isinstance(left, SubSteps) and isinstance(right, SubSteps)
    if not both:
        return _added_to(left, right, kwargs)
    if kwargs or left.unit != right.unit or left.shape != right.shape:
        return NotImplemented
    binary = left.binary and right.binary
    return left.like(torch.cat([left.planes, right.planes]), binary=binary, ordered=False)


def _added_to(left: Any, right: Any, kwargs: dict) -> Any:
    """Real values plus counts: each spike adds its worth."""
    x, other = (left, right) if isinstance(left, SubSteps) else (right, left)
    if kwargs or not isinstance(other, Tensor) or x.unit == 1.0:
        return NotImplemented
    return torch.add(other, x.counts(), alpha=x.unit)


# Products
# --------------------------------------------------------------------------------------------------


def _product(function: Callable[[Tensor, Tensor], Tensor], left: Any, right: Any) -> Any:
    """The sum over the planes of a binary operand of its products with the accumulated other
    one.
    """
    steps, other = (left, right) if isinstance(left, SubSteps) and left.binary else (right, left)
    if (
        not isinstance(steps, SubSteps)
        or not isinstance(other, Tensor)
        or not _enough_axes(function, left, right)
    ):
        return NotImplemented
    whole = other.counts() if isinstance(other, SubSteps) else other
    unit = steps.unit * (other.unit if isinstance(other, SubSteps) else 1.0)
    planes = steps.planes.flatten(0, 1)  # [D * T, ...]: one pass per sub-step
    if whole.ndim == steps.ndim:
        whole = whole.expand(steps.shape[0], *whole.shape[1:]).repeat(
            steps.levels, *[1] * (whole.ndim - 1)
        )
    pair = (planes, whole) if steps is left else (whole, planes)
    total = function(*pair).unflatten(0, (steps.levels, -1)).sum(0)
    return SubSteps.total(total, unit)


def _enough_axes(function: Any, left: Any, right: Any) -> bool:
    """The first axis takes the planes: a matrix product needs one in front of its rows and
    columns.
    """
    return (
        min(left.ndim, right.ndim) > (2 if function is torch.matmul else 0)
        and left.ndim == right.ndim
    )


@rule("matmul bmm")
def _matmul(func: Any, args: tuple, kwargs: dict) -> Any:
    return _product(torch.matmul, *args)


@rule("rmatmul")
def _rmatmul(func: Any, args: tuple, kwargs: dict) -> Any:
    return _product(torch.matmul, args[1], args[0])


@rule("einsum")
def _einsum(func: Any, args: tuple, kwargs: dict) -> Any:
    equation, *operands = args
    operands = (
        list(operands[0])
        if len(operands) == 1 and isinstance(operands[0], list | tuple)
        else operands
    )
    letters, arrow, result = equation.replace(" ", "").partition("->")
    binary = [i for i, x in enumerate(operands) if isinstance(x, SubSteps) and x.binary]
    if not arrow or not binary:
        return NotImplemented
    free = next(c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in equation)
    names = letters.split(",")
    names[binary[0]] = free + names[binary[0]]
    unit = math.prod(x.unit for x in operands if isinstance(x, SubSteps))
    parts = [x.counts() if isinstance(x, SubSteps) else x for x in operands]
    parts[binary[0]] = operands[binary[0]].planes
    total = torch.einsum(f"{','.join(names)}->{free}{result}", *parts).sum(0)
    return SubSteps.total(total, unit)


# Weight layers
# --------------------------------------------------------------------------------------------------


@rule("linear")
def _linear(func: Any, args: tuple, kwargs: dict) -> Any:
    if not only_first(args, kwargs):
        return NotImplemented
    x, weight, bias = _weights(args, kwargs)
    merged = x.ndim > 1
    planes = x.planes.flatten(0, 1) if merged else x.planes
    total = func(planes, weight)
    total = (total.unflatten(0, x.planes.shape[:2]) if merged else total).sum(0)
    return _with_bias(total, x.unit, bias, ())


def _weights(args: tuple, kwargs: dict) -> tuple[SubSteps, Tensor, Tensor | None]:
    names = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    return names["input"], names["weight"], names.get("bias")


def _with_bias(total: Tensor, unit: float, bias: Tensor | None, kernel: Sequence[int]) -> Tensor:
    total = total if unit == 1.0 else total * unit
    return total if bias is None else total + bias.view(-1, *[1] * len(kernel))


@rule(" ".join(f"{kind}{n}" for n in _WINDOWS.split() for kind in ("conv", "conv_transpose")))
def _conv(func: Any, args: tuple, kwargs: dict) -> Any:
    if not only_first(args, kwargs):
        return NotImplemented
    x, weight, bias = _weights(args, kwargs)
    rest = {
        name: value for name, value in kwargs.items() if name not in ("input", "weight", "bias")
    }
    single = x.ndim == weight.ndim - 1  # one map without a batch
    maps = x.planes if single else x.planes.flatten(0, 1)
    total = func(maps, weight, None, *args[3:], **rest)
    total = (total if single else total.unflatten(0, x.planes.shape[:2])).sum(0)
    return _with_bias(total, x.unit, bias, weight.shape[2:])
