"""Arithmetic of kinds against brute force: every value that can occur lies in the kind that is
claimed.
"""

import itertools

import pytest

from spikedriven.graph import Analog, Constant, Count, Input, Scaled, Spike, kinds


def values(kind):
    found = kinds.span(kind)
    return [n * found.factor for n in range(found.low, found.high + 1)]


KINDS = [Spike(), Count(4), Count(2, -1), Scaled(Count(4), 0.25), Scaled(Spike(), 0.5)]


@pytest.mark.parametrize("a", KINDS, ids=str)
@pytest.mark.parametrize("b", KINDS, ids=str)
def test_products_hold_every_product_and_are_tight(a, b):
    products = {x * y for x, y in itertools.product(values(a), values(b))}
    claimed = values(kinds.multiply(a, b))
    assert products <= set(claimed)
    assert (min(products), max(products)) == (claimed[0], claimed[-1])


@pytest.mark.parametrize("a", KINDS, ids=str)
@pytest.mark.parametrize("b", KINDS, ids=str)
def test_sums_hold_every_sum_or_are_real(a, b):
    claimed = kinds.add(a, b)
    if claimed == Analog():
        assert kinds.span(a).factor != kinds.span(b).factor
    else:
        assert {x + y for x, y in itertools.product(values(a), values(b))} == set(values(claimed))


@pytest.mark.parametrize("a", KINDS, ids=str)
@pytest.mark.parametrize("b", [*KINDS, Constant(0.0)], ids=str)
def test_a_choice_holds_both(a, b):
    claimed = kinds.join([a, b])
    if claimed != Analog():
        assert set(values(a)) <= set(values(claimed))
        assert b == Constant(0.0) or set(values(b)) <= set(values(claimed))


def test_totals_and_averages_count_their_terms():
    assert kinds.total(Spike(), 49) == Count(49)
    assert kinds.multiply(Spike(), Spike(), terms=16) == Count(16)
    assert kinds.average(Spike(), 4) == Scaled(Count(4), 0.25, averaged=True)
    assert kinds.average(Spike(), 1) == Spike()
    assert not kinds.is_spiking(kinds.average(Spike(), 4))


def test_spike_masks_and_constants():
    assert kinds.multiply(Spike(), Spike()) == Spike()
    assert kinds.scale(Spike(), 0.125) == Scaled(Spike(), 0.125)
    assert kinds.scale(kinds.scale(Count(4), 0.25), 4.0) == Count(4)
    assert kinds.add(kinds.negated(Spike()), Spike()) == Count(1, -1)


def test_reals_win_and_the_input_stays_the_input():
    assert kinds.add(Spike(), Analog()) == Analog()
    assert kinds.multiply(Spike(), Constant()) == Analog()
    assert kinds.add(Input(), Constant()) == Input()
    assert kinds.add(Input(), Spike()) == Analog()
    assert kinds.join([Spike(), Constant(1.0)]) == Analog()
