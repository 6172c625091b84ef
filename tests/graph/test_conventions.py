"""Conventions on plain tables of layers, against the totals that the Spikingformer authors
logged.
"""

import math

import pytest

from spikedriven.errors import InputError
from spikedriven.graph.conventions import CONVENTIONS, find_convention, find_technology
from spikedriven.graph.counts import AttentionShape, Layer, Read
from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import Measurement
from tests.golden import rule

LOGS = rule.load("spikingformer_energy_logs.json")
PUBLISHED_MJ = {"Spikingformer-8-512": 7.463502602, "Spikingformer-8-768": 13.658864952}


def geometry(name: str, kind: str, steps: int, img: int = 224) -> tuple[int, int]:
    """(positions x steps, kernel area) of a logged layer, from the architecture: the stem
    halves before each conv.
    """
    if kind == "Linear":
        return 1, 1
    if name.startswith("block"):
        return steps * (img // 16) ** 2, 1
    stem = ["proj_conv", "proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv"]
    newer = ["proj_conv", "proj1_conv", "proj2_conv", "proj3_conv", "proj4_conv"]
    last = name.rpartition(".")[2]
    return steps * (img // 2 ** (stem if last in stem else newer).index(last)) ** 2, 9


def mean_rates(log: dict) -> dict[str, float]:
    """Input rate per module, averaged over images: logged additions / operations. (The logged
    percentages are averages over batches of unequal size; they agree with these to 1e-4.)
    """
    return {row[0]: row[3] / row[2] for row in log["module_tree"]["rows"]}


def module_name(name: str) -> str:
    return name.replace("[", ".").replace("]", "")


def logged_table(log: dict) -> list[Layer]:
    info, rates, layers = log["ssa_info"], mean_rates(log), []
    for name, kind, cin, cout, _, _, _, percent in log["conv_linear"]["rows"]:
        positions, area = geometry(name, kind, info["Tsteps"])
        with_bias = (
            "fc" in name
            or "mlp" in name
            or "head" in name
            or ("block" in name and "proj_conv" in name)
        )
        read = Read(spiking=percent != 100.0, rate=rates[module_name(name)])
        assert not read.spiking or read.rate == pytest.approx(percent / 100, rel=1e-4)
        ops = positions * area * cin * cout
        layers.append(
            Layer(
                name,
                "linear" if kind == "Linear" else "conv",
                ops,
                (read,),
                positions * cout * with_bias,
            )
        )
    width = info["embSize"]
    for i, rates in enumerate(log["qkv_firing_rates"]):
        q, k, v = (Read(True, rate) for rate in rates)
        shape = AttentionShape(
            info["Tsteps"], 8, info["patchSize"] ** 2, width // 8, width // 8, q, k, v
        )
        layers.append(Layer(f"block[{i}].attn", "matmul", 0.0, (q, k, v), attention=shape))
    return layers


@pytest.mark.parametrize("name", LOGS)
def test_reproduces_the_published_totals(name):
    log = LOGS[name]
    report = cost(Measurement(tuple(logged_table(log)), 50_000, 4), "spikingformer-log")
    assert report.total_mj == pytest.approx(log["energy_mJ"], rel=1e-12)
    assert round(report.total_mj, 9) == PUBLISHED_MJ[name]
    assert report.macs == round(log["G_MACs"] * 1e9)
    assert report.acs * 1e-9 == pytest.approx(log["G_ACs"], rel=1e-12)


@pytest.mark.parametrize("name", LOGS)
def test_operations_of_every_logged_layer(name):
    logged = {row[0]: row[2] for row in LOGS[name]["module_tree"]["rows"]}
    for layer in logged_table(LOGS[name]):
        if layer.attention is None:
            assert layer.ops + layer.bias_ops == logged[module_name(layer.name)]


def test_the_counters_head_table_is_what_makes_the_published_768_figure():
    """With the model's own 8 heads the total would be 13.6747 mJ, not 13.6589."""
    table = Measurement(tuple(logged_table(LOGS["Spikingformer-8-768"])), 50_000, 4)
    assert cost(table, "spikingformer").total_mj == pytest.approx(13.6747, abs=5e-5)


SPIKES, COUNTS, REAL = Read(True, 0.2), Read(True, 1.2, levels=4), Read(False)


def acs_macs(convention, layer):
    priced = CONVENTIONS[convention].cost(layer)
    return priced.acs, priced.macs


#: Conventions whose additions are those of the synapses alone, for a layer without bias.
SYNAPSES = [name for name in CONVENTIONS if not name.startswith("lemaire")]


@pytest.mark.parametrize("name", SYNAPSES)
def test_every_convention_adds_for_spikes_and_multiplies_for_reals(name):
    assert acs_macs(name, Layer("a", "conv", 1000, (SPIKES,))) == (200, 0)
    assert acs_macs(name, Layer("a", "linear", 1000, (REAL,))) == (0, 1000)


@pytest.mark.parametrize("name", SYNAPSES)
def test_an_integer_spike_of_n_costs_n_additions(name):
    assert acs_macs(name, Layer("a", "conv", 1000, (COUNTS,))) == (1200, 0)


def test_sfa_prints_levels_and_nsfr():
    assert CONVENTIONS["sfa"].cost(Layer("a", "conv", 1000, (COUNTS,))).formula == (
        "E_AC x D 4 x NSFR 0.3 x 1000 operations"
    )


def test_mask_attention_costs_the_rate_of_its_first_operand():
    k, v = Read(True, 0.3), Read(True, 0.1)
    assert acs_macs("sdt", Layer("kv", "multiply", 1000, (k, v))) == (300, 0)
    assert acs_macs("sfa", Layer("kv", "multiply", 1000, (k, v))) == (100, 0)


@pytest.mark.parametrize(("k", "v"), [(0.1, 0.3), (0.3, 0.1)])
def test_counter_attention_takes_the_sparser_of_k_and_v(k, v):
    shape = AttentionShape(4, 8, 16, 48, 48, Read(True, 0.2), Read(True, k), Read(True, v))
    acs, _ = acs_macs("spikingformer", Layer("attn", "matmul", 0.0, (), attention=shape))
    assert acs == pytest.approx(4 * 8 * 16 * 48**2 * (0.1 + 0.2))


def test_only_spikingformer_and_all_ops_count_biases():
    layer = Layer("a", "conv", 1000, (SPIKES,), bias_ops=50)
    counted = {name: acs_macs(name, layer)[0] for name in SYNAPSES[:5]}
    assert counted == {
        "sdt": 200, "spikingformer": 210, "spikingformer-log": 210, "sfa": 200, "all-ops": 250,
    }  # fmt: skip


def test_all_ops_prices_what_the_others_leave_out():
    ops = (
        "neuron",
        "batchnorm",
        "maxpool",
        "mean",
        "sum",
        "add",
        "scale",
        "activation",
        "divide",
        "avgpool",
    )
    rows = [Layer("a", op, 10, (SPIKES,), elements=10, inputs=90, window=9) for op in ops]
    assert {layer.op: acs_macs("all-ops", layer) for layer in rows} == {
        "neuron": (20, 10),
        "batchnorm": (0, 10),
        "maxpool": (80, 0),
        "mean": (18, 10),
        "sum": (18, 0),
        "add": (10, 0),
        "scale": (0, 10),
        "activation": (0, 10),
        "divide": (0, 10),
        "avgpool": (18, 10),
    }
    for name in ("sdt", "sfa", "spikingformer"):
        assert not any(CONVENTIONS[name].cost(layer).counted for layer in rows)


def test_int8_prices():
    table = Measurement(
        (Layer("a", "conv", 1e9, (SPIKES,)), Layer("b", "conv", 1e9, (REAL,))), 1, 1
    )
    assert cost(table, "sdt", "fp32").total_mj == pytest.approx(0.2 * 0.9 + 4.6)
    assert cost(table, "sdt", "int8").total_mj == pytest.approx(0.2 * 0.03 + 0.23)


def test_unknown_names_are_listed():
    with pytest.raises(InputError, match="'sdt2' is not known; choose one of sdt, spikingformer, "):
        find_convention("sdt2")
    with pytest.raises(InputError, match="'fp64' is not known; choose one of fp32, int32, int8"):
        find_technology("fp64")


def test_comparison_says_when_spiking_does_not_pay():
    def compared(rate, steps):
        layer = Layer("a", "conv", 1e9 * steps, (Read(True, rate),), passes=steps)
        return cost(Measurement((layer,), 1, steps)).comparison

    sparse, dense = compared(0.05, 4), compared(0.9, 8)
    assert sparse.ann_mj == dense.ann_mj == pytest.approx(4.6)
    assert sparse.quantised_ann_mj == pytest.approx(0.23)
    assert sparse.partner("fp32").spiking_mj == pytest.approx(0.05 * 4 * 0.9)
    assert sparse.partner("fp32").pays and sparse.pays_quantised
    assert "would below a mean rate of 63.89%" in str(dense)  # 4.6 / (8 x 0.9)
    assert not dense.partner("fp32").pays and str(dense).count("does NOT pay") == 2
    assert "below the published break-even of 5.7% to 6.4%" in str(sparse) and "2409.08290" in str(
        sparse
    )
    assert math.isclose(compared(0.06, 4).mean_rate, 0.06) and "within the published" in str(
        compared(0.06, 4)
    )
