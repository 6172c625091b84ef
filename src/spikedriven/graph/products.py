"""Sizes of matrix products, `einsum` among them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from spikedriven.errors import InputError

Shape = Sequence[int]
#: Letters that stand for the axes of an ellipsis.
_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def contracted_size(target: str, attrs: Mapping[str, Any], operands: Mapping[str, Any]) -> int:
    """How many products a matrix product sums per output element.

    operands: argument name -> anything with a shape; of an `einsum` weights stand in ``attrs``.
    """
    if target != "aten::einsum":
        left = next((operands[name] for name in ("self", "mat1") if name in operands), None)
        return left.shape[-1] if left else next(iter(operands.values())).shape[-2]
    shapes = einsum_shapes(attrs, operands)
    axes, result = einsum_letters(attrs["equation"], shapes)
    sizes: dict[str, int] = {}
    for letters, shape in zip(axes, shapes, strict=True):
        sizes.update(zip(letters, shape, strict=True))
    return math.prod(size for letter, size in sizes.items() if letter not in result)


def einsum_shapes(attrs: Mapping[str, Any], operands: Mapping[str, Any]) -> list[Shape]:
    """Shapes of all operands of an `einsum` in their order, weights included."""
    found = {**{k: v for k, v in attrs.items() if k.startswith("tensors[")}, **operands}
    return [found[f"tensors[{i}]"].shape for i in range(len(found))]


def einsum_letters(equation: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """The letters of each operand's axes and of the result, an ellipsis and an implicit result
    spelt out.
    """
    operands, arrow, result = equation.replace(" ", "").partition("->")
    parts = operands.split(",")
    extra = [
        len(shape) - len(part.replace("...", "")) for part, shape in zip(parts, shapes, strict=True)
    ]
    most = max((n for n, part in zip(extra, parts, strict=True) if "..." in part), default=0)
    spare = [letter for letter in _SPARE if letter not in equation][:most]
    if len(spare) < most:
        raise InputError(f"einsum {equation!r}: too many letters; write it as matrix products")
    whole = "".join(spare)
    axes = [part.replace("...", whole[most - n :]) for n, part in zip(extra, parts, strict=True)]
    if arrow:
        return axes, result.replace("...", whole)
    once = Counter("".join(axes))
    letters = "".join(
        sorted(letter for letter, n in once.items() if n == 1 and letter not in spare)
    )
    return axes, whole + letters
