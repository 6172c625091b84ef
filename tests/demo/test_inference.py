"""What the page shows is what the library computes for that image."""

import copy
import json
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

import spikedriven as sd
from spikedriven.data import build_eval_loader
from spikedriven.data.config import DataConfig
from spikedriven.demo import Inference, network, open_network
from spikedriven.demo.inference import running_means
from spikedriven.demo.network import samples
from spikedriven.demo.spikes import binary_steps, recorded_spikes
from spikedriven.errors import InputError
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.watch import neuron_outputs
from spikedriven.report.attention import firing_maps
from spikedriven.runs.target import Loaded

BOTH = pytest.mark.parametrize("name", ["lif", "integer"])


@pytest.fixture(scope="module")
def found(networks):
    """Per network: a test image as the network sees it, and what the page shows of it."""
    sample = samples()[16]
    shown = {}
    for name, one in networks.items():
        inference = Inference(one, threads=1)
        shown[name] = one.prepared(sample.image), inference.classify(np.asarray(sample.image))
        inference.close()
    return shown


@BOTH
def test_images_are_prepared_as_in_evaluation(name, networks):
    one = networks[name]
    sample = samples()[20]
    loader = build_eval_loader(one.data, "test", batch_size=1, rank=sample.index, world_size=2000)
    expected, label = next(iter(loader))
    assert label.item() == sample.label
    assert torch.equal(one.prepared(sample.image), expected)


#: Of shares, logits and energies, in units of float32: a mean, a matrix product and exp, each of
#: few terms.
CLOSE = 64 * 2.0**-23


@BOTH
def test_every_stroke_changes_the_answer(name, networks):
    """Also the shortest ones, far from the middle: tests of the page wait for another answer
    after a stroke.
    """
    model = networks[name].model
    drawn = np.zeros((26, 28, 28), np.uint8)
    for number, (row, column) in enumerate(product(range(0, 25, 6), range(0, 25, 6)), 1):
        drawn[number, row : row + 2, column : column + 2] = 200
    x = torch.cat([networks[name].prepared(Image.fromarray(picture)) for picture in drawn])
    with torch.no_grad():
        shares = model(x).softmax(-1)
    # the page shows a tenth of a per cent
    assert ((shares[1:] - shares[0]).abs().amax(1) > 2e-3).all()
    assert len(shares[1:].mul(1000).round().unique(dim=0)) > 20


@BOTH
def test_the_last_running_mean_is_what_the_model_answers(name, networks, found):
    x, shown = found[name]
    with torch.no_grad():
        expected = networks[name].model(x).softmax(-1)[0]
    assert shown["shares"][-1] == pytest.approx(expected.tolist(), rel=CLOSE)
    assert shown["predicted"] == int(expected.argmax())
    assert len(shown["shares"]) == networks[name].model.time_steps
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_running_means_are_those_of_streaming(networks):
    model = copy.deepcopy(networks["lif"].model).double()
    x = networks["lif"].prepared(samples()[3].image).double()
    state, expected = None, []
    with torch.no_grad():
        for _ in range(model.time_steps):
            _, state = model.step(x, state)
            expected.append(state.logits[0])
        found = running_means(model, x)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-12)
    assert not torch.equal(found[0], found[1])


@BOTH
def test_rates_are_those_of_the_library(name, networks, found):
    x, shown = found[name]
    model = networks[name].model
    expected = sd.firing_rates(model, x)
    modules = dict(model.named_modules())
    assert [layer["name"] for layer in shown["layers"]] == list(expected)
    for layer in shown["layers"]:
        neuron = modules[layer["name"]]
        factor = neuron.norm / neuron.levels if isinstance(neuron, IntegerNeuron) else 1.0
        assert layer["rate"] == pytest.approx(expected[layer["name"]] * factor, rel=1e-6, abs=1e-12)
        assert sum(map(sum, layer["fired"])) == round(
            layer["rate"] * layer["neurons"] * len(layer["fired"])
        )
        assert all(len(step) == layer["height"] * layer["width"] for step in layer["fired"])
    assert max(layer["rate"] for layer in shown["layers"]) > 0.05


def test_binary_steps_of_counts_are_those_of_the_expanded_network(networks):
    """Float64: every neuron, every sub-step; only the names inside attention differ."""
    model = copy.deepcopy(networks["integer"].model).double()
    x = networks["integer"].prepared(samples()[7].image).double()
    spiking = sd.expand(model)
    outputs = {}

    def see(path, _neuron, output):
        outputs[path] = output[:, 0]

    with torch.no_grad(), recorded_spikes(model) as layers:
        model(x)
    with torch.no_grad(), neuron_outputs(spiking, see):
        spiking(x)
    assert [layer.name for layer in layers] == list(outputs)
    for layer in layers:
        expected = outputs[layer.name]
        expected = expected.sum(1) if expected[0, 0].numel() > 1 else expected
        assert torch.equal(layer.fired.flatten(1), expected.long().flatten(1)), layer.name
    assert any(0 < layer.fired[1].sum() < layer.fired[0].sum() for layer in layers)


def test_counts_become_spikes_in_order():
    neuron = IntegerNeuron(levels=4)
    spikes = binary_steps(neuron, torch.tensor([[0.0, 0.25, 0.75, 1.0]]))
    assert spikes.long().tolist() == [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
    spikes = binary_steps(
        neuron, torch.tensor([[0.25], [0.75]])
    )  # two time steps, one after the other
    assert spikes.long().flatten().tolist() == [1, 0, 0, 0, 1, 1, 1, 0]


@BOTH
def test_energy_is_that_of_this_image(name, networks, found):
    x, shown = found[name]
    arithmetic = [name for name, rule in CONVENTIONS.items() if rule.memory is None]
    assert [one["name"] for one in shown["energy"]["conventions"]] == arithmetic
    for one in shown["energy"]["conventions"]:
        for technology in ("fp32", "int8"):
            report = sd.energy(networks[name].graph, x, one["name"], technology)
            assert one["mj"][technology] == report.total_mj
        assert (one["macs"], one["acs"]) == (report.macs, report.acs)
    assert (
        shown["energy"]["conventions"][0]["mj"]["fp32"]
        == sd.energy(networks[name].model, x).total_mj
    )
    pj = sum(layer["picojoule"] for layer in shown["energy"]["layers"])
    assert pj * 1e-9 == pytest.approx(shown["energy"]["conventions"][0]["mj"]["fp32"], rel=1e-12)


@BOTH
def test_attention_engine_and_latency(name, networks, found):
    x, shown = found[name]
    maps = firing_maps(networks[name].model, x)
    assert [one["name"] for one in shown["attention"]] == [one.label for one in maps] != []
    assert [one["largest"] for one in shown["attention"]] == [
        float(one.rates.max()) for one in maps
    ]
    assert all(
        source.startswith("data:image/png;base64,")
        for one in shown["attention"]
        for source in one["images"]
    )
    assert shown["engine_predicted"] == int(networks[name].program(x).argmax())
    latency = shown["latency"]
    assert latency["threads"] == {"engine": 1, "eager": 1} and 3 <= latency["runs"] <= 15
    for who in ("engine", "eager"):
        assert 0 < latency[who]["q1"] <= latency[who]["median"] <= latency[who]["q3"]


@BOTH
@pytest.mark.parametrize("grey", [0, 255])
def test_an_even_picture_is_classified_too(name, grey, networks):
    inference = Inference(networks[name], threads=1)
    shown = inference.classify(np.full((28, 28), grey, np.uint8))
    inference.close()
    assert sum(shown["shares"][-1]) == pytest.approx(1, abs=1e-5)


def test_samples_are_three_of_each_class():
    found = samples()
    assert [s.label for s in found] == [label for label in range(10) for _ in range(3)]
    assert len({s.index for s in found}) == 30
    assert all(isinstance(s.image, Image.Image) and s.image.size == (28, 28) for s in found)


@pytest.mark.parametrize(
    ("data", "classes", "message"),
    [
        ("cifar10", 10, "trained on cifar10, but the demo shows garments"),
        ("fashion-mini", 3, "with 3 classes"),
    ],
)
def test_networks_that_do_not_know_garments_are_refused(data, classes, message, monkeypatch):
    loaded = Loaded(
        sd.create_model("sdt_2_256_cifar", num_classes=classes),
        True,
        DataConfig(dataset=data, in_chans=3),
    )
    monkeypatch.setattr(network, "is_model_name", lambda target: False)
    monkeypatch.setattr(network, "load_target", lambda target: loaded)
    with pytest.raises(InputError, match=message):
        open_network("runs/other")
