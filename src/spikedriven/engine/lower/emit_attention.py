"""Products of two values: the attention ``q (k^T v)`` or ``(q k^T) v``, however it is written.

The first product is held back as a `Pair`; with the third of q, k and v it becomes one operation. A
matrix product and an einsum are one thing here: letters that both operands have and the result has
not are summed.
"""

from dataclasses import dataclass, replace

from spikedriven.engine.lower.draft import Attend
from spikedriven.engine.lower.layout import Axis, Dim, Dims, axis, joined
from spikedriven.engine.lower.problems import Unlowered
from spikedriven.engine.lower.values import OUTER, Pair, Value
from spikedriven.engine.lower.walk import Result, Walk, emits
from spikedriven.graph.nodes import Node

_FORM = (
    "write attention as q (k^T v) or (q k^T) v on [..., heads, N, d], on spikes or counts, with "
    "constant factors"
)


@emits(op="matmul")
def matmul(walk: Walk, node: Node) -> Result:
    if node.target == "aten::einsum":
        return _einsum(walk, node)
    if node.target not in ("aten::matmul", "aten::bmm", "aten::mm"):
        raise Unlowered(
            "its weights are computed from the input",
            "use weights that are parameters of the network",
        )
    second = "mat2" if "mat2" in node.inputs else "other"
    left, right = (_operand(walk, node, name) for name in ("self", second))
    ndim = max(len(left.dims), len(right.dims))
    letters = [chr(ord("a") + n) for n in range(ndim + 1)]
    batch, (m, k, n) = letters[: ndim - 2], letters[ndim - 2 :]
    names = [[*batch[ndim - len(x.dims) :], *ends] for x, ends in ((left, (m, k)), (right, (k, n)))]
    return contracted(walk, [left, right], names, [*batch, m, n])


def _operand(walk: Walk, node: Node, name: str) -> Value | Pair:
    found = walk.operand(node, name)
    if isinstance(found, Value | Pair):
        return found
    raise Unlowered("it multiplies no two values of the network", _FORM)


def _einsum(walk: Walk, node: Node) -> Result:
    letters, _, result = node.attrs["equation"].replace(" ", "").partition("->")
    names = [list(name) for name in letters.split(",")]
    values = [_operand(walk, node, f"tensors[{i}]") for i in range(len(names))]
    while len(values) > 2:
        kept = set(result).union(*names[2:])
        between = [letter for letter in dict.fromkeys([*names[0], *names[1]]) if letter in kept]
        values[:2] = [contracted(walk, values[:2], names[:2], between)]
        names[:2] = [between]
    return contracted(walk, values, names, list(result))


@dataclass(frozen=True)
class _Contraction:
    """Two operands by letters. summed, left, right: letters of both, of the first, of the second
    alone."""

    a: Value | Pair
    b: Value | Pair
    dims_a: dict[str, Dim]
    dims_b: dict[str, Dim]
    result: list[str]

    @property
    def summed(self) -> Dim:
        return self.parts(
            lambda x: x in self.dims_a and x in self.dims_b and x not in self.result, self.dims_a
        )

    def parts(self, wanted, dims: dict[str, Dim]) -> Dim:
        return tuple(p for letter, dim in dims.items() if wanted(letter) for p in dim)

    def alone(self, first: bool) -> dict[str, Dim]:
        mine, other = (self.dims_a, self.dims_b) if first else (self.dims_b, self.dims_a)
        return {letter: dim for letter, dim in mine.items() if letter not in other}


def contracted(
    walk: Walk, values: list[Value | Pair], names: list[list[str]], result: list[str]
) -> Value | Pair:
    """The sum of products of two operands over the letters that the result does not have."""
    (a, b), (names_a, names_b) = values, names
    by_letter = [dict(zip(n, v.dims, strict=True)) for n, v in zip(names, values, strict=True)]
    product = _Contraction(a, b, by_letter[0], by_letter[1], result)
    if any(
        letter not in result and (letter in names_a) != (letter in names_b)
        for letter in {*names_a, *names_b}
    ):
        raise Unlowered("it sums an axis that one operand alone has", _FORM)
    if isinstance(a, Value) and isinstance(b, Value):
        return _first(product)
    if isinstance(a, Pair) and isinstance(b, Pair):
        raise Unlowered("it multiplies two products", _FORM)
    return _second(walk, product)


# The first product --------------------------------------------------------------------------------


def _first(product: _Contraction) -> Pair:
    a, b = product.a, product.b
    assert isinstance(a, Value) and isinstance(b, Value)
    for letter in product.dims_a.keys() & product.dims_b.keys():
        one, other = product.dims_a[letter], product.dims_b[letter]
        if one and other and _unstrided(one) != _unstrided(other):
            raise Unlowered("the axes that its operands share lie differently", _FORM)
    over = {part.of for part in product.summed}
    kind = "" if not over else "channels" if over <= {"C"} else "tokens"  # "": an axis of one place
    if not over <= {"C"} and not over <= {"H", "W"}:
        raise Unlowered("it sums over neither the tokens nor the channels of a head", _FORM)
    dims: dict[str, Dim] = {}
    for letter in product.result:
        shared = product.dims_a.get(letter) or product.dims_b.get(letter, ())
        if letter in product.dims_a and letter in product.dims_b:
            dims[letter] = shared
        else:
            side = "left" if letter in product.dims_a else "right"
            dims[letter] = tuple(_of_side(part, side) for part in shared)
    return Pair(a, b, kind, tuple(dims[letter] for letter in product.result))


def _unstrided(dim: Dim) -> list[tuple[str, int]]:
    """Axes without the width of heads, in which v may differ from q and k."""
    return [(part.of, part.size) for part in joined(dim)]


def _of_side(part: Axis, side: str) -> Axis:
    return part if part.of in OUTER else replace(part, of=f"{side}.{part.of}")


# The second product -------------------------------------------------------------------------------


def _second(walk: Walk, product: _Contraction) -> Value:
    first = isinstance(product.a, Pair)
    pair, third = (product.a, product.b) if first else (product.b, product.a)
    assert isinstance(pair, Pair) and isinstance(third, Value)
    dims_pair, dims_third = (
        (product.dims_a, product.dims_b) if first else (product.dims_b, product.dims_a)
    )
    summed = [x for x in dims_pair if x in dims_third and x not in product.result]
    sides = {part.of.split(".")[0] for letter in summed for part in dims_pair[letter]}
    if not sides and pair.over == "channels":
        sides = {"right"}  # one token: q and k may change places
    if len(sides) != 1 or not sides <= {"left", "right"}:
        raise Unlowered("it sums over neither the tokens nor the channels of a head", _FORM)
    (side,) = sides
    over = (
        pair.over or "tokens"
    )  # the second product sums the channels, so the first did the one token
    met, other = (pair.left, pair.right) if side == "left" else (pair.right, pair.left)
    for letter in summed:
        if tuple(_bare(part) for part in dims_pair[letter]) != dims_third[letter]:
            raise Unlowered("the axis that it sums over lies differently in its operands", _FORM)
    q, k, v = (third, met, other) if over == "tokens" else (other, met, third)
    return _attended(walk, q, k, v, pair.factor, _result_dims(product, dims_pair, dims_third))


def _bare(part: Axis) -> Axis:
    return replace(part, of=part.of.split(".")[-1])


def _result_dims(
    product: _Contraction, dims_pair: dict[str, Dim], dims_third: dict[str, Dim]
) -> Dims:
    result = []
    for letter in product.result:
        dim = dims_pair.get(letter) or dims_third.get(letter, ())
        result.append(tuple(_bare(part) for part in dim))
    return tuple(result)


def _attended(walk: Walk, q: Value, k: Value, v: Value, factor: float, dims: Dims) -> Value:
    draft = walk.draft
    if not all(draft.is_spikes(x.map) for x in (q, k, v)):
        raise Unlowered("attention reads real values", "put a neuron behind each of q, k and v")
    heads = {_heads(draft.maps[x.map].channels, x.dims) for x in (q, k, v)}
    m = [draft.maps[x.map] for x in (q, k, v)]
    places = {(x.steps, x.height, x.width) for x in m}
    if len(heads) != 1 or None in heads or len(places) != 1 or m[0].channels != m[1].channels:
        raise Unlowered("q, k and v differ in tokens, time steps or heads", _FORM)
    (count,) = heads
    assert count is not None
    out = draft.real(v.map)
    scale = factor * q.factor * k.factor * v.factor
    draft.add(Attend(q.map, k.map, v.map, out, count, scale))
    if m[2].channels != m[0].channels:
        dims = tuple(
            tuple(_restrided(part, m[2].channels // count, count) for part in dim) for dim in dims
        )
    return Value(out, dims)


def _heads(channels: int, dims: Dims) -> int | None:
    """How many heads the channels are split into, head by head; None where they lie otherwise."""
    parts = [part for dim in dims for part in dim if part.of == "C"]
    if parts == list(axis("C", channels)) or not parts:
        return 1
    if len(parts) != 2:
        return None
    outer, inner = sorted(parts, key=lambda part: -part.stride)
    return outer.size if outer.stride == inner.size and inner.stride == 1 else None


def _restrided(part: Axis, width: int, heads: int) -> Axis:
    """The axis of heads in a value whose heads are ``width`` channels wide."""
    return (
        replace(part, stride=width)
        if part.of == "C" and part.size == heads and part.stride > 1
        else part
    )
