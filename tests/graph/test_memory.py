"""Memory traffic by hand: one convolution behind spikes, one neuron layer, and the same layer in an
ANN."""

import pytest

from spikedriven.errors import InputError
from spikedriven.graph.conventions import CONVENTIONS, TECHNOLOGIES, find_convention
from spikedriven.graph.counts import Layer, Read
from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import Measurement
from spikedriven.graph.memory import Memory, sram_pj
from spikedriven.graph.prices import Prices

#: 3x3, 4 -> 8 channels on 10 x 10, no padding, T = 2; every fifth input fires.
SPIKES = Read(True, 0.2)
CONV = Layer(
    "conv",
    "conv",
    2 * 100 * 8 * 36,
    (SPIKES,),
    bias_ops=1600,
    elements=1600,
    inputs=2 * 4 * 144,
    passes=2,
    weights=288,
    biases=8,
)
NEURON = Layer(
    "neuron",
    "neuron",
    1600,
    (Read(False),),
    elements=1600,
    inputs=1600,
    passes=2,
    output=Read(True, 0.1),
)
TABLE = Measurement((CONV, NEURON), 1, 2)
WITH_MEMORY = [name for name, rule in CONVENTIONS.items() if rule.memory is not None]


def moved(name: str) -> dict[str, dict[str, tuple[float, float]]]:
    rows = cost(TABLE, name).rows
    return {row.name: {what: found[:2] for what, found in row.moved.items()} for row in rows}


def test_prices_of_memories_by_size():
    """Horowitz, ISSCC 2014, as Lemaire et al. interpolate."""
    points = [sram_pj(size) for size in (0, 4096, 8192, 20 * 1024, 32 * 1024, 1 << 20, 1 << 30)]
    assert points == pytest.approx([0, 5, 10, 15, 20, 100, 100])


def test_places_packing_and_prices_per_bit():
    prices = Prices.of(find_convention("lemaire"), TECHNOLOGIES["int8"], Memory(packed=False))
    access = prices.convention.moves(CONV, prices.memory)[0]
    assert (access.what, access.bits, access.size) == ("weights", 8, 296)
    word = 10 * 296 / 8192
    for memory, expected in (
        (Memory(packed=False), word),
        (Memory(), word / 8),
        (Memory(on_chip_pj=0.5), 4.0),
        (Memory(weights="off-chip", off_chip_pj=2.0), 16.0),
        (Memory(weight_bits=4, on_chip_pj=0.5), 2.0),
    ):
        filled = Prices.of(find_convention("lemaire"), TECHNOLOGIES["int8"], memory).memory
        assert filled.price(find_convention("lemaire").moves(CONV, filled)[0]) == pytest.approx(
            expected
        )


def test_event_by_event():
    """Lemaire et al. 2022: theta = 0.2 x 2 x 576 spikes in, 0.2 x 57600 additions."""
    additions, spikes = 0.2 * 57600, 0.2 * 2 * 576
    assert moved("lemaire") == {
        "conv": {
            "weights": pytest.approx((additions + 1600, 0)),
            "membranes": pytest.approx((additions, additions)),
            "spikes": pytest.approx((spikes, 0)),
        },
        "neuron": {"membranes": (1600, 1600), "spikes": pytest.approx((0, 160))},
    }
    conv, neuron = cost(TABLE, "lemaire").rows
    assert conv.acs == pytest.approx(2 * additions + 1600) and conv.macs == pytest.approx(
        2 * spikes
    )
    assert (neuron.macs, neuron.acs) == pytest.approx((1600, 160))


def test_weights_from_off_chip_once():
    assert moved("bit-matched")["conv"] == {
        "weights, off chip": (296, 0),
        "weights": pytest.approx((0.2 * 57600, 0)),
        "spikes": pytest.approx((0.2 * 2 * 576, 0)),
    }
    report = cost(TABLE, "bit-matched")
    assert report.rows[0].moved["weights, off chip"][2] == pytest.approx(296 * 8 * 1300 / 64)


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_an_ann_of_the_same_shape_runs_once(name):
    """One pass: 28800 multiply-accumulates, whatever the rates and time steps."""
    report = cost(TABLE, name)
    own = report.comparison.partners[0]
    arithmetic, memory = (sum(row.partner_pj[i] for row in report.rows) for i in (0, 1))
    assert arithmetic == pytest.approx(28800 * report.technology.mac_pj)
    assert memory > 0 and own.ann_mj == pytest.approx((arithmetic + memory) * 1e-9)
    assert (
        own.spiking_mj == report.total_mj == pytest.approx(report.arithmetic_mj + report.memory_mj)
    )
    assert report.rows[1].partner_pj == (0, 0)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_at_the_break_even_both_need_the_same(name):
    for partner in cost(TABLE, name).comparison.partners:
        reads = Read(True, 0.2 * partner.break_even), Read(True, 0.1 * partner.break_even)
        layers = (
            Layer(**{**vars(CONV), "reads": (reads[0],)}),
            Layer(**{**vars(NEURON), "output": reads[1]}),
        )
        again = cost(Measurement(layers, 1, 2), name).comparison.partner(partner.name)
        if partner.break_even > 0:
            assert again.spiking_mj == pytest.approx(partner.ann_mj)


def test_matched_bits_follow_the_binary_steps():
    """Counts over T x D = 2 steps are 0, 1, 2: two bits."""
    names = [partner.name for partner in cost(TABLE, "bit-matched").comparison.partners]
    assert names == ["int8", "fp32", "activations of 2 bits"]


def test_an_ann_with_zeros_skips_them():
    dense, half = (
        cost(TABLE, "bit-matched", memory=Memory(zeros=zeros)).comparison.partner("int8").ann_mj
        for zeros in (0.0, 0.5)
    )
    assert half < dense
    assert (
        cost(TABLE, "bit-matched", memory=Memory(zeros=0.5)).total_mj
        == cost(TABLE, "bit-matched").total_mj
    )


def test_only_conventions_with_traffic_take_a_memory():
    with pytest.raises(InputError, match="convention sdt counts no memory traffic"):
        cost(TABLE, "sdt", memory=Memory())
