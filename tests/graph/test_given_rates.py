"""Energy from given rates: the published logs, and files that say something wrong."""

import json

import pytest
import torch

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.graph.energy import cost
from spikedriven.graph.given_rates import read_rates
from spikedriven.graph.measurement import measure, measurement_of
from spikedriven.models.logged_rates import logged_rates, networks_with_rates
from tests.golden import rule
from tests.graph.networks import Net, conv_bn, images, integer
from tests.graph.test_conventions import LOGS
from tests.graph.test_energy import lively


def logged(name: str):
    with torch.device("meta"):
        model = sd.create_model(name).eval()
    return measurement_of(model, model.example_input(), read_rates(logged_rates(name)))


@pytest.mark.parametrize(
    ("name", "log", "heads_of_the_network"),
    [
        ("spikingformer_8_512", "Spikingformer-8-512", 7.4635),
        ("spikingformer_8_768", "Spikingformer-8-768", 13.6747),
    ],
)
def test_the_published_logs(name, log, heads_of_the_network):
    found = logged(name)
    assert cost(found, "spikingformer-log").total_mj == pytest.approx(
        LOGS[log]["energy_mJ"], rel=1e-9
    )
    assert cost(found, "spikingformer").total_mj == pytest.approx(heads_of_the_network, abs=5e-5)
    assert found.images == 0 and "energy_consumption_of" in found.source
    layers = {
        row[0].replace("[", ".").replace("]", ""): row for row in LOGS[log]["module_tree"]["rows"]
    }
    head = next(layer for layer in found.layers if layer.name == "head")
    assert head.ops + head.bias_ops == layers["head"][2]
    assert found.spikes > 1e6  # every neuron's rate follows from the log


def test_which_networks_have_logged_rates():
    assert networks_with_rates() == ["spikingformer_8_512", "spikingformer_8_768"]
    with pytest.raises(
        InputError,
        match=r"no firing rates were published for sdt_8_512; they were for spikingformer",
    ):
        logged_rates("sdt_8_512")


@pytest.fixture(scope="module")
def measured():
    model = lively(Net(conv_bn(8, 8), neuron=integer()))
    return model, measure(model, images(), form="released"), sd.firing_rates(model, images())


def write(path, content):
    path.write_text(json.dumps(content))
    return read_rates(path)


def test_measured_rates_written_down_give_the_same_energy(measured, tmp_path):
    """`firing_rates` as it is: mean outputs of integer neurons, n / D."""
    model, found, rates = measured
    again = measurement_of(model, images(), write(tmp_path / "rates.json", rates), "released")
    for convention in ("sdt", "bit-matched"):
        expected = cost(found, convention)
        assert cost(again, convention).total_mj == pytest.approx(expected.total_mj)
    assert again.spikes == pytest.approx(found.spikes)


def test_layers_take_spikes_per_element_and_step(measured, tmp_path):
    model, found, _rates = measured
    layers = {
        layer.name: layer.rate
        for layer in found.layers
        if layer.op in ("conv", "linear") and layer.spiking
    }
    given = write(tmp_path / "rates.json", {"layers": layers, "source": "a paper"})
    again = measurement_of(model, images(), given, "released")
    assert cost(again).total_mj == pytest.approx(cost(found).total_mj)
    assert "rates given by a paper" in str(cost(again))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "expected an object"),
        ({"rates": {}}, "expected neurons or layers"),
        ({"neurons": {"fire": -0.1}}, "the rate of fire is -0.1"),
        ({"neurons": {"fire": "much"}}, "the rate of fire is 'much'"),
        ({"neurons": {"fires": 0.1}}, "reads no spikes at fires"),
        ({"neurons": {"fire": 1.5}}, "more than 4"),
        (
            {"neurons": {"fire": 0.1}, "layers": {"planted.inner.0": 0.2}},
            "read the same value, at rates",
        ),
        ({"neurons": {"fire": 0.1}, "time_steps": 4}, "over 4 time steps, and the network has 3"),
    ],
)
def test_wrong_files_are_one_message(measured, tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        measurement_of(measured[0], images(), write(tmp_path / "rates.json", content), "released")


def test_a_missing_rate_is_asked_for(measured, tmp_path):
    given = write(tmp_path / "rates.json", {"neurons": {"fire": 0.1}})
    found = measurement_of(measured[0], images(), given, "released")
    with pytest.raises(
        InputError, match="convention sdt needs firing rates that were not given, for head"
    ):
        cost(found, "sdt")


def test_an_unreadable_file(tmp_path):
    (tmp_path / "rates.json").write_text("{")
    for name in ("rates.json", "nothing.json"):
        with pytest.raises(InputError, match="not a readable JSON file"):
            read_rates(tmp_path / name)


def test_the_shipped_files_hold_the_logged_figures():
    """Each layer's rate is the logged additions over the logged operations."""
    logs = rule.load("spikingformer_energy_logs.json")
    found = read_rates(logged_rates("spikingformer_8_768"))
    rows = {row[0]: row for row in logs["Spikingformer-8-768"]["module_tree"]["rows"]}
    assert found.layers["stem.1.project.conv"] == pytest.approx(
        rows["patch_embed.proj1_conv"][3] / rows["patch_embed.proj1_conv"][2], rel=1e-12
    )
    assert (
        found.neurons["blocks.7.attn.k.neuron"]
        == logs["Spikingformer-8-768"]["qkv_firing_rates"][7][1]
    )
