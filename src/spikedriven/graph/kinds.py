"""What a value in the network can be, decided by where it came from and never by looking at
numbers.

A neuron emits spikes; sums of spikes are counts; a constant factor leaves a scaled count; a weight
layer turns any of these into real values. `rules.py` says which operator does what; here are the
kinds and their arithmetic.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Base of all kinds. Two kinds are equal when the same statement is known about both values."""


@dataclass(frozen=True)
class Input(Kind):
    """The network's input: real values that the encoding layer may read."""

    def __str__(self) -> str:
        return "input"


@dataclass(frozen=True)
class Analog(Kind):
    """Real values: the output of a weight layer, a normalisation, a residual sum."""

    def __str__(self) -> str:
        return "real"


@dataclass(frozen=True)
class Membrane(Kind):
    """The membrane potential that a neuron hands to its next step."""

    def __str__(self) -> str:
        return "membrane"


@dataclass(frozen=True)
class Constant(Kind):
    """A value that no input reaches: weights and what is computed from weights alone.

    value: the number every element has, where the operator that made it says so (``zeros``,
    ``full``).
    """

    value: float | None = None

    def __str__(self) -> str:
        return "weights" if self.value is None else f"constant {self.value:g}"


@dataclass(frozen=True)
class Spike(Kind):
    """Binary spikes, 0 or 1."""

    def __str__(self) -> str:
        return "spike"


@dataclass(frozen=True)
class Count(Kind):
    """Whole numbers minimum..maximum: integer spikes, or sums of spikes."""

    maximum: int
    minimum: int = 0

    def __str__(self) -> str:
        return f"count {self.minimum}..{self.maximum}"


@dataclass(frozen=True)
class Scaled(Kind):
    """Whole numbers times one constant factor, such as n/4 or 0.125 q k^T v.

    averaged: the factor comes from a mean or an average pool. Such a value was summed over
    neighbours and no longer says who fired, so a weight layer that reads it is a finding.
    """

    base: Spike | Count
    factor: float
    averaged: bool = False

    def __str__(self) -> str:
        return f"{'mean of ' if self.averaged else ''}{self.base} x {self.factor:g}"


@dataclass(frozen=True)
class Span:
    """Spike, Count and Scaled in one form for arithmetic: whole numbers low..high times factor."""

    low: int
    high: int
    factor: float = 1.0
    averaged: bool = False

    @property
    def kind(self) -> Kind:
        base = Spike() if (self.low, self.high) == (0, 1) else Count(self.high, self.low)
        return (
            base
            if self.factor == 1.0 and not self.averaged
            else Scaled(base, self.factor, self.averaged)
        )


def span(kind: Kind) -> Span | None:
    """The span of a spike-like kind; None for real values, inputs and weights."""
    if isinstance(kind, Spike):
        return Span(0, 1)
    if isinstance(kind, Count):
        return Span(kind.minimum, kind.maximum)
    if isinstance(kind, Scaled):
        inner = span(kind.base)
        assert inner is not None
        return Span(inner.low, inner.high, kind.factor, kind.averaged)
    return None


def is_spiking(kind: Kind) -> bool:
    """True for spikes and counts, scaled by a constant or not, but not for averages."""
    found = span(kind)
    return found is not None and not found.averaged


def is_real(kind: Kind) -> bool:
    """True where a multiplication by this value is a real multiplication, whatever is folded."""
    return not isinstance(kind, Constant) and not is_spiking(kind)


def scale(kind: Kind, factor: float) -> Kind:
    """The kind of ``value * factor``."""
    found = span(kind)
    if found is None:
        return (
            Constant(None if kind.value is None else kind.value * factor)
            if isinstance(kind, Constant)
            else kind
        )
    return Span(found.low, found.high, found.factor * factor, found.averaged).kind


def add(a: Kind, b: Kind) -> Kind:
    """The kind of ``a + b``; also of ``a - b`` with `negated` b."""
    left, right = span(a), span(b)
    if left and right and left.factor == right.factor:
        averaged = left.averaged or right.averaged
        return Span(left.low + right.low, left.high + right.high, left.factor, averaged).kind
    return _mixed(a, b)


def negated(kind: Kind) -> Kind:
    found = span(kind)
    return (
        kind if found is None else Span(-found.high, -found.low, found.factor, found.averaged).kind
    )


def multiply(a: Kind, b: Kind, terms: int = 1) -> Kind:
    """The kind of a sum of ``terms`` products ``a * b`` (1: elementwise; the inner size for a
    matrix product).
    """
    left, right = span(a), span(b)
    if left and right:
        corners = [x * y for x in (left.low, left.high) for y in (right.low, right.high)]
        averaged = left.averaged or right.averaged
        return Span(
            min(corners) * terms, max(corners) * terms, left.factor * right.factor, averaged
        ).kind
    return _mixed(a, b)


def total(kind: Kind, terms: int) -> Kind:
    """The kind of a sum of ``terms`` values of this kind."""
    found = span(kind)
    return (
        kind
        if found is None
        else Span(found.low * terms, found.high * terms, found.factor, found.averaged).kind
    )


def average(kind: Kind, terms: int) -> Kind:
    """The kind of a mean of ``terms`` values of this kind; a mean of one value is that value."""
    found = span(kind)
    if found is None or terms == 1:
        return kind
    return Span(found.low * terms, found.high * terms, found.factor / terms, averaged=True).kind


def join(kinds: Iterable[Kind]) -> Kind:
    """The kind of a value taken from any of several (cat, stack, where, maximum)."""
    first, *rest = kinds
    for other in rest:
        first = _join_two(first, other)
    return first


def _join_two(a: Kind, b: Kind) -> Kind:
    if a == b:
        return a
    if a == Constant(0.0):
        a, b = b, a
    left = span(a)
    right = (
        Span(0, 0, left.factor) if left and b == Constant(0.0) else span(b)
    )  # 0 is a count on every scale
    if left and right and left.factor == right.factor:
        averaged = left.averaged or right.averaged
        return Span(
            min(left.low, right.low), max(left.high, right.high), left.factor, averaged
        ).kind
    return _mixed(a, b)


def _mixed(a: Kind, b: Kind) -> Kind:
    kinds = {type(a), type(b)}
    if kinds == {Constant}:
        return Constant()
    return Input() if kinds <= {Input, Constant} else Analog()
