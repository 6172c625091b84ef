"""Where dimensions lie in a map, against the strides of PyTorch."""

import itertools
import math

import pytest

from spikedriven.engine.lower.layout import (
    BATCH,
    REPEATED,
    Axis,
    axis,
    joined,
    places,
    reshaped,
    shape_of,
)
from spikedriven.engine.lower.problems import Unlowered

T, B, H, W, C = (axis(of, size)[0] for of, size in zip("TBHWC", (3, BATCH, 4, 6, 16), strict=True))
MAP = ((T,), (B,), (C,), (H,), (W,))


@pytest.mark.parametrize(
    "shape",
    [
        (3 * BATCH, 16, 4, 6),
        (3, BATCH, 16, 24),
        (3, BATCH, 2, 8, 24),
        (3, BATCH, 1, 16, 1, 24),
        (3 * BATCH, 384),
        (3, BATCH, 16, 2, 2, 3, 2),
    ],
)
def test_reshaping_there_and_back(shape: tuple[int, ...]) -> None:
    dims = reshaped(MAP, shape)
    assert shape_of(dims) == shape
    assert reshaped(dims, shape_of(MAP)) == MAP


def test_heads_are_parts_of_the_channels() -> None:
    heads = reshaped(((C,),), (2, 8))
    assert heads == ((Axis("C", 2, 8),), (Axis("C", 8, 1),))
    assert places(heads[0]) == [0, 8] and places(heads[1]) == list(range(8))
    assert joined((*heads[0], *heads[1])) == (C,)
    assert joined((*heads[1], *heads[0])) != (C,)  # another order of channels is not the axis


def test_places_count_as_the_dimension_does() -> None:
    parts = (Axis("C", 2, 8), Axis("C", 2, 2), Axis("C", 2, 1))
    expected = [
        sum(p.stride * i for p, i in zip(parts, index, strict=True))
        for index in itertools.product(*(range(p.size) for p in parts))
    ]
    assert places(parts) == expected


def test_repetitions_join() -> None:
    assert joined((Axis(REPEATED, 2), Axis(REPEATED, 3))) == (Axis(REPEATED, 6),)


@pytest.mark.parametrize("shape", [(5, 77), (3, BATCH, 16, 5, 5), (7,)])
def test_what_cuts_an_axis_is_refused(shape: tuple[int, ...]) -> None:
    dims = ((C,), (H,), (W,)) if math.prod(shape) < BATCH else MAP
    with pytest.raises(Unlowered, match="cuts an axis of"):
        reshaped(dims, shape)
