"""Operations that belong together become one, so that sums never leave the registers.

Each rule looks at an operation and at who makes and who reads its maps. Order matters: factors go
into layers before residuals do, and residuals before neurons.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from spikedriven.engine.lower.draft import Attend, Draft, PlanePool, Weigh, fired
from spikedriven.engine.program import Affine, Fire, MaskedAttention, Pool, Product, Sum
from spikedriven.kernels.spec import LIFSpec

#: (draft, number of an operation, writers, readers) -> whether it changed the draft.
Rule = Callable[["_View", int], bool]


class _View:
    """A draft with who writes and who reads each map."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.writers, self.readers = draft.writers(), draft.readers()

    def __getitem__(self, number: int) -> Any:
        return self.draft.operations[number]

    def maker(self, index: int, kind: type) -> Any:
        """The operation that makes a map, if it is of a kind and nothing else reads the map."""
        operation = self[self.writers[index]]
        return operation if isinstance(operation, kind) and len(self.readers[index]) == 1 else None

    def put(self, number: int, operation: Any, *gone: int) -> bool:
        """Put an operation in a place; others go."""
        self.draft.operations[number] = operation
        for other in sorted(gone, reverse=True):
            del self.draft.operations[other]
        return True


def optimised(draft: Draft) -> None:
    """Apply every rule until none finds a place."""
    for rule in (_masked_attention, _affine_into_layer, _factor_into_sum, _residual, _fire):
        _everywhere(draft, rule)


def _everywhere(draft: Draft, rule: Rule) -> None:
    number = 0
    view = _View(draft)
    while number < len(draft.operations):
        if rule(view, number):
            view, number = _View(draft), max(number - 1, 0)
        else:
            number += 1


def _affine_into_layer(view: _View, number: int) -> bool:
    """``scale * layer + shift``: into the weights; of one factor behind an attention, into its
    scale."""
    affine = view[number]
    if not isinstance(affine, Affine):
        return False
    made = view.writers[affine.source]
    attend = view.maker(affine.source, Attend)
    if attend is not None and _one_factor(affine):
        scale = attend.scale * float(affine.scale[0])
        return view.put(made, replace(attend, scale=scale, out=affine.out), number)
    layer = view.maker(affine.source, Weigh)
    if layer is None or layer.spikes is not None or layer.scale is not None:
        return False
    weight = layer.weight * affine.scale[:, None, None, None]
    bias = layer.bias * affine.scale + affine.shift
    return view.put(made, replace(layer, weight=weight, bias=bias, real=affine.out), number)


def _factor_into_sum(view: _View, number: int) -> bool:
    affine = view[number]
    if not isinstance(affine, Affine) or not _one_factor(affine):
        return False
    sum_ = view.maker(affine.source, Sum)
    if sum_ is None or sum_.factor != 1.0 or view.draft.is_spikes(affine.source):
        return False
    factor = float(np.float32(affine.scale[0]))
    return view.put(
        view.writers[affine.source], replace(sum_, factor=factor, out=affine.out), number
    )


def _one_factor(affine: Affine) -> bool:
    return bool((affine.scale == affine.scale[0]).all()) and not affine.shift.any()


def _residual(view: _View, number: int) -> bool:
    """A sum goes into the layer that makes one of its sides last, where nothing else reads that
    side."""
    sum_ = view[number]
    if not isinstance(sum_, Sum) or sum_.factor != 1.0 or view.draft.is_spikes(sum_.out):
        return False
    sides = [(sum_.a, sum_.b), (sum_.b, sum_.a)]
    for residual, made in sorted(sides, key=lambda side: -view.writers[side[1]]):
        layer, place = view.maker(made, Weigh), view.writers[made]
        fits = (
            layer is not None
            and layer.residual is None
            and layer.spikes is None
            and not view.draft.is_spikes(residual)
            and view.writers[residual] < place
            and _same_size(view.draft, residual, made)
        )
        if fits:
            return view.put(place, replace(layer, residual=residual, real=sum_.out), number)
    return False


def _same_size(draft: Draft, a: int, b: int) -> bool:
    x, y = draft.maps[a], draft.maps[b]
    return (x.height, x.width, x.channels) == (y.height, y.width, y.channels)


def _fire(view: _View, number: int) -> bool:
    """A neuron goes into the layer that makes what it reads, which may be read by others too."""
    fire = view[number]
    if not isinstance(fire, Fire):
        return False
    place = view.writers[fire.source]
    layer = view[place]
    if isinstance(layer, Weigh) and layer.spikes is None:
        return view.put(place, replace(layer, spikes=fire.out, neuron=fire.neuron), number)
    attend = view.maker(fire.source, Attend)
    if attend is not None:
        return view.put(place, fired(attend, fire), number)
    return False


# Mask and add -------------------------------------------------------------------------------------


def _masked_attention(view: _View, number: int) -> bool:
    """``q * fire(sum over positions of k * v)`` of binary spikes, plain or with a plane pool in
    front of the sum and one behind the mask."""
    mask = view[number]
    if not isinstance(mask, Product) or not view.draft.is_spikes(mask.out):
        return False
    return any(
        _masked(view, number, q, column) for q, column in ((mask.a, mask.b), (mask.b, mask.a))
    )


def _masked(view: _View, number: int, q: int, column: int) -> bool:
    draft = view.draft
    fire = view.maker(column, Fire)
    sums = fire and _sum_over_positions(view, fire.source)
    if not sums or not isinstance(fire.neuron, LIFSpec):
        return False
    plane = view.maker(sums.source, PlanePool)
    product = view.maker(plane.source if plane else sums.source, Product)
    if product is None:
        return False
    parts = [draft.maps[index] for index in (q, product.a, product.b)]
    shapes = {(m.kind, m.levels, m.unit, m.steps, m.height, m.width, m.channels) for m in parts}
    if len(shapes) != 1 or parts[0].levels != 1 or parts[0].kind != "spikes":
        return False
    out, gone, heads = (
        view[number].out,
        [view.writers[m] for m in (column, sums.out, product.out)],
        0,
    )
    gone.append(view.writers[fire.source])
    if plane is not None:
        last = _only_reader(view, out, PlanePool)
        if last is None or view[last].heads != plane.heads:
            return False
        out, heads = view[last].out, plane.heads
        gone += [view.writers[plane.out], last]
    attention = MaskedAttention(q, product.a, product.b, out, heads, fire.neuron)
    return view.put(number, attention, *set(gone))


def _sum_over_positions(view: _View, index: int) -> Pool | None:
    """The pool that sums a map over all its positions."""
    pool = view.maker(index, Pool)
    return pool if pool is not None and pool.how == "mean" and _is_sum(view.draft, pool) else None


def _is_sum(draft: Draft, pool: Pool) -> bool:
    m = draft.maps[pool.source]
    return pool.rows.tolist() == [[0, m.height, 1]] and pool.columns.tolist() == [[0, m.width, 1]]


def _only_reader(view: _View, index: int, kind: type) -> int | None:
    readers = view.readers[index]
    alone = len(readers) == 1 and readers[0] >= 0 and isinstance(view[readers[0]], kind)
    return readers[0] if alone else None
