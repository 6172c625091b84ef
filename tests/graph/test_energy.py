"""Rates and energies of real networks: against the published counter, against hand counts,
against hooks.
"""

import json

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.graph.energy import cost, energy
from spikedriven.graph.firing import firing_rates
from spikedriven.graph.measurement import measure
from spikedriven.neurons import LIF, Neuron
from tests.golden import rule
from tests.graph.networks import STEPS, Attention, Fold, Mask, Net, conv_bn, images, integer


def lively(model: nn.Module) -> nn.Module:
    """Batch norms that let every neuron fire: unit weights alone leave a random network silent."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 4.0)
            nn.init.constant_(module.bias, 1.5)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(images(4))
    return model.eval()


@pytest.fixture(scope="module")
def counted():
    """The published counter's run (rule-1 weights, one 64-pixel image), and ours of the same
    network.
    """
    golden = rule.load("spikingformer_energy_imagenet_8_384_img64.json")
    model = sd.create_model("spikingformer_8_384", img_size=64).double()
    sd.load_official(model, rule.weights(rule.load("spikingformer_imagenet_8_384.json")))
    return golden, model.official_names(), measure(model, rule.inputs(golden))


def theirs(names, name: str) -> str:
    """The counter's name of one of our modules; pools have none in the key table."""
    pool = {f"stem.{i}.pool": f"patch_embed.maxpool{i}" for i in range(1, 5)}
    return pool.get(name) or names.theirs(name + ".").rstrip(".")


def test_every_module_costs_what_the_published_counter_says(counted):
    golden, names, measurement = counted
    found = {}
    for layer in measurement.layers:
        priced = cost(measurement, "spikingformer").convention.cost(layer)
        if layer.op in ("conv", "linear", "batchnorm", "neuron", "maxpool"):
            found[theirs(names, layer.name)] = (priced.acs, priced.macs)
    expected = {name: (acs, macs) for name, _, acs, macs, _ in golden["all_modules"]}
    assert found.keys() == expected.keys()
    for name, figures in expected.items():
        assert found[name] == pytest.approx(figures, rel=1e-9), name
    _, acs, macs = golden["all_module_ops[ori,AC,MAC]"]
    assert sum(f[0] for f in found.values()) == pytest.approx(acs, rel=1e-12)
    assert sum(f[1] for f in found.values()) == macs


def test_its_total_energy_and_attention_rates(counted):
    golden, _, measurement = counted
    report = cost(measurement, "spikingformer")
    assert report.total_mj == pytest.approx(golden["energy_mJ"], rel=1e-12)
    assert report.macs == pytest.approx(golden["G_MACs"] * 1e9, rel=1e-12)
    assert report.acs == pytest.approx(golden["G_ACs"] * 1e9, rel=1e-12)
    blocks = [layer.attention for layer in measurement.layers if layer.attention]
    rates = [[block.q.rate, block.k.rate, block.v.rate] for block in blocks]
    for found, expected in zip(rates, golden["qkv_firing_rates"], strict=True):
        assert found == pytest.approx(expected, rel=1e-9)
    assert {(b.steps, b.heads, b.tokens, b.dim, b.value_dim) for b in blocks} == {
        (4, 8, 16, 48, 48)
    }


def test_rows_of_a_small_network_by_hand():
    model, batch = Net(conv_bn(8, 6, 3)), images(3)
    model.head = nn.Linear(6, 5)
    lively(model)
    report, rates = energy(model, batch), firing_rates(model, batch)
    first, planted, head = report.rows
    assert (first.name, first.rate, first.macs) == ("encode.inner.0", None, STEPS * 64 * 9 * 3 * 8)
    assert planted.flops == STEPS * 64 * 9 * 8 * 6
    assert 0.05 < planted.rate < 0.95
    assert planted.rate == pytest.approx(rates["fire"], rel=1e-12)
    assert planted.sops == planted.acs == pytest.approx(planted.flops * rates["fire"])
    assert head.flops == STEPS * 6 * 5 and head.rate == pytest.approx(rates["head_fire"])
    picojoule = 4.6 * first.macs + 0.9 * (planted.acs + head.acs)
    assert report.total_mj == pytest.approx(picojoule * 1e-9)
    assert report.measurement.images == 3 and report.measurement.time_steps == STEPS


def test_grouped_strided_and_transposed_convolutions():
    layers = [nn.Conv2d(8, 8, 3, stride=2, groups=4), nn.ConvTranspose2d(8, 4, 2, stride=2)]
    for layer, ops in zip(layers, (STEPS * 9 * 8 * 2 * 9, STEPS * 64 * 8 * 4 * 4), strict=True):
        model = Net(Fold(layer))
        model.head = nn.Linear(layer.out_channels, 5)
        (row,) = [row for row in energy(model, images()).rows if row.name.startswith("planted")]
        assert row.flops == ops


def test_mask_attention_pays_for_k_and_q():
    model, batch = lively(Net(Mask())), images()
    rows = [row for row in energy(model, batch).rows if row.op == "multiply"]
    rate = firing_rates(model, batch)["fire"]
    assert [row.sops for row in rows] == pytest.approx([rate * STEPS * 8 * 64] * 2)


def test_matrix_attention_pays_for_its_sparser_spikes():
    model, batch = lively(Net(Attention(width=8, heads=2))), images()
    inner, outer = [row for row in energy(model, batch).rows if row.op == "matmul"]
    rates = firing_rates(model, batch)
    q, k, v = (rates[f"planted.fire.{i}"] for i in range(3))
    assert inner.flops == outer.flops == STEPS * 2 * 64 * 4 * 4
    assert inner.sops == pytest.approx(inner.flops * min(k, v))
    assert outer.rate <= q


class Named(nn.Module):
    """Attention whose neurons are called q, k and v, in either order of its two products."""

    def __init__(self, kv_first: bool):
        super().__init__()
        self.q_fire, self.k_fire, self.v_fire, self.kv_first = LIF(), LIF(), LIF(), kv_first

    def forward(self, x):
        heads = x.flatten(3).unflatten(2, (2, -1)).transpose(-1, -2)  # [T, B, 2, N, d]
        q, k, v = self.q_fire(heads), self.k_fire(heads * 2), self.v_fire(heads * 3)
        k = k.transpose(-1, -2)
        y = q @ (k @ v) if self.kv_first else (q @ k) @ v
        return y.transpose(-1, -2).flatten(2, 3).unflatten(3, x.shape[-2:])


@pytest.mark.parametrize("kv_first", [True, False])
def test_attention_is_recognised_by_the_names_of_its_neurons(kv_first):
    model, batch = lively(Net(Named(kv_first))), images()
    shapes = [layer.attention for layer in measure(model, batch).layers if layer.attention]
    rates = firing_rates(model, batch)
    (shape,) = shapes
    assert (shape.steps, shape.heads, shape.tokens, shape.dim, shape.value_dim) == (
        STEPS,
        2,
        64,
        4,
        4,
    )
    assert [shape.q.rate, shape.k.rate, shape.v.rate] == pytest.approx(
        [rates[f"planted.{letter}_fire"] for letter in "qkv"]
    )


def test_integer_spikes_cost_their_number():
    model, batch = lively(Net(conv_bn(8, 8), neuron=integer())), images()
    (row,) = [row for row in energy(model, batch, "sfa").rows if row.name == "planted.inner.0"]
    mean_integer = 4 * firing_rates(model, batch)["fire"]
    assert mean_integer > 0.1
    assert row.acs == pytest.approx(row.flops * mean_integer)
    assert f"D 4 x NSFR {mean_integer / 4:.6g}" in row.formula


def test_a_layer_that_reads_averages_multiplies():
    model = lively(Net(conv_bn(8, 8), head_neuron=False))
    head = energy(model, images()).rows[-1]
    assert head.rate is None and head.macs == STEPS * 8 * 5


def test_firing_rates_equal_hooks_and_leave_out_what_never_ran():
    model, batch = lively(Net(Attention())), images()
    rates, outputs = firing_rates(model, batch), {}
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(
                lambda _m, _i, out, name=name: outputs.update({name: out.mean().item()})
            )
    model(batch)
    assert rates == pytest.approx(outputs, rel=1e-6) and "never_called" not in rates
    assert next(iter(rates)) == "fire" and list(rates)[-1] == "head_fire"


def test_a_loader_weighs_batches_by_their_size():
    model, batch = lively(Net(Mask())), images(5)
    loader = [(batch[:4], torch.zeros(4)), (batch[4:], torch.zeros(1))]
    assert firing_rates(model, loader) == pytest.approx(firing_rates(model, batch), rel=1e-12)
    report = energy(model, (pair for pair in loader), progress=True)
    assert report.measurement.images == 5
    assert report.total_mj == pytest.approx(energy(model, batch).total_mj, rel=1e-9)


def test_hooks_and_modes_are_put_back():
    model = Net().train()
    firing_rates(model, images())
    assert model.training and not model.fire._forward_hooks


def test_errors():
    with pytest.raises(InputError, match="no batch came out of the loader"):
        energy(Net(), [])
    with pytest.raises(InputError, match="Linear has no neuron of this package"):
        firing_rates(nn.Linear(2, 2), torch.zeros(1, 2))


def test_the_report_prints_its_arithmetic_and_serialises():
    report = energy(lively(Net(conv_bn(8, 8))), images())
    values = json.loads(json.dumps(report.to_dict()))
    assert values["total_mj"] == report.total_mj and values["layers"][0]["name"] == "encode.inner.0"
    text = str(report)
    assert (
        report.formula() in text
        and "E_MAC x 41472 operations" in text
        and "ANN of the same shape, int8" in text
    )
    assert "WARNING" not in text


def test_a_silent_network_is_called_silent():
    model = Net(conv_bn(8, 8))
    nn.init.constant_(model.encode.inner[1].bias, -100.0)
    report = energy(model.eval(), images())
    assert report.silent == ("planted.inner.0", "head")
    assert "WARNING: 2 of 3 layers read no spike at all (first: planted.inner.0)" in str(report)
