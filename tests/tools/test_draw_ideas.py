"""The figures of the pages "Ideas" show what the network computes, and what the pages state."""

import pytest
import torch
from draw_ideas import (
    CURRENTS,
    FIGURES,
    RULES,
    STEPS,
    at_factor,
    currents,
    membrane,
    network,
    places,
    reading_layer,
    test_images,
)

from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import measure
from spikedriven.neurons import LIF

test_images.__test__ = False  # a function of the tool


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize("current", CURRENTS)
def test_the_membrane_that_is_drawn_is_the_neurons(current: float):
    drawn = membrane(current)[1]
    fired = (
        LIF(tau=2.0)(torch.full((STEPS, 1), current, dtype=torch.float64)).flatten().bool().tolist()
    )
    assert drawn == fired
    assert 0 < sum(membrane(1.2)[1]) < STEPS and not any(
        membrane(0.8)[1]
    )  # both kinds are in the figure


def test_the_places_have_the_currents(model):
    maps = currents(model, test_images()[:1])
    field = maps[int(maps.flatten(1).std(1).argmax())]
    found = [float(field[row, column]) for row, column in places(field)]
    assert found == pytest.approx(CURRENTS, abs=0.1)


def test_the_layer_of_the_sums_reads_counts(model):
    name, weight, values = reading_layer(model, test_images()[:1])
    counts = 8 * values
    assert (
        weight.shape[1] == len(values) and torch.equal(counts, counts.round()) and counts.max() > 0
    ), name


@pytest.mark.slow
def test_where_spiking_pays(model):
    """The verdicts of the page's table, and its two break-even rates."""
    measurement = measure(model, test_images())
    mean = cost(measurement).comparison.mean_rate
    assert mean == pytest.approx(0.097, abs=0.001)
    pays = {}
    for rule, prices, _ in RULES[1:]:
        report = cost(measurement, rule, prices)
        partner = report.comparison.partner(prices)
        pays[rule] = (partner.pays, round(100 * mean * partner.break_even))
        doubled = cost(at_factor(measurement, 2.0), rule, prices)
        assert doubled.total_mj > report.total_mj and doubled.comparison.mean_rate == pytest.approx(
            2 * mean
        )
    assert (
        pays["sdt"][0]
        and pays["bit-matched"] == (True, 13)
        and pays["lemaire-packed"] == (False, 5)
    )


@pytest.mark.parametrize("name", ["membrane", "addition", "attention", "surrogates", "energy"])
def test_the_figures_are_there_and_small(name: str):
    file = FIGURES / f"ideas_{name}.svg"
    assert file.read_text().count("<svg") == 1 and file.stat().st_size < 200_000
