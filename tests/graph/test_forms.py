"""Which form of a network is counted, and that forms agree where they must."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.graph.energy import cost
from spikedriven.graph.forms import in_form, natural_form
from spikedriven.graph.measurement import ALL_SILENT, measure
from spikedriven.graph.trace import trace
from spikedriven.layers import ConvBN, SpikingSelfAttention
from tests.graph.networks import Net, conv_bn, images, integer
from tests.graph.test_energy import lively
from tests.graph.test_every_model import THINNED
from tests.networks import live_input, live_model

FORMS = {
    "sdt_8_512": "released", "spikingformer_8_512": "released", "meta_spikeformer_15m": "folded",
    "e_spikeformer_3m": "folded", "e_spikeformer_171m": "folded",
}  # fmt: skip


@pytest.mark.parametrize(("name", "form"), FORMS.items())
def test_what_runs_is_read_off_the_graph(name, form):
    with torch.device("meta"):
        model = sd.create_model(name, img_size=64, **THINNED[name]).eval()
    assert natural_form(trace(model, model.example_input())) == form


def test_a_chain_is_counted_once_folded():
    """Meta-SpikeFormer's inner layers multiply real values as released; folded, only the first
    convolution does."""
    model = live_model(
        "meta_spikeformer_15m", img_size=32, **THINNED["meta_spikeformer_15m"]
    ).float()
    x = live_input(model)[:1].float()
    released, default = (sd.energy(model, x, form=form) for form in ("released", None))
    assert default.total_mj < released.total_mj
    multiplying = [sum(row.macs > 0 for row in report.rows) for report in (default, released)]
    assert multiplying[0] == 1 < multiplying[1]
    assert default.measurement.form == "folded" and "network folded" in str(default)
    assert default.measurement.spikes == pytest.approx(released.measurement.spikes)


class IntegerAttention(nn.Module):
    """Encoding layer, one attention block on counts, classifier on the counts of a mean."""

    def __init__(self):
        super().__init__()
        self.encode, self.fire, self.head = conv_bn(3, 8, 3), integer(1.0)(), nn.Linear(8, 5)
        self.attn = SpikingSelfAttention(8, 2, integer(), integer()(), 0.5, ConvBN, ConvBN, 2)

    def forward(self, x):
        x = self.encode(x.unsqueeze(0).repeat(2, 1, 1, 1, 1))
        x = x + self.attn(x)
        return self.head(self.fire(x.mean(dim=(-2, -1)))).mean(0)


def test_an_integer_network_costs_what_its_binary_expansion_costs():
    """Up to products of two counts: the expansion selects by one operand, the count is charged by
    the sparser one."""
    model, x = lively(IntegerAttention()), images()
    counts, binary = (measure(model, x, form=form) for form in ("folded", "expanded"))
    assert counts.steps == binary.steps == 4 * counts.time_steps
    assert binary.spikes == pytest.approx(counts.spikes)

    def additions(measurement, ops):
        rows = cost(measurement, "sdt").rows
        return sum(row.sops for row in rows if row.op in ops)

    assert additions(binary, ("conv", "linear")) == pytest.approx(
        additions(counts, ("conv", "linear"))
    )
    products = additions(counts, ("matmul",)), additions(binary, ("matmul",))
    assert products[0] <= products[1] * (1 + 1e-9)
    dense = (cost(m, "sdt").comparison.dense_macs for m in (counts, binary))
    assert next(dense) == pytest.approx(next(dense))


def test_steps_are_those_of_the_neurons():
    """A layer that reads a sum of counts does not make more of them: T 3, D 4 are 12 binary
    steps."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.fire, self.project = integer()(), conv_bn(8, 8)

        def forward(self, x):
            return self.project(x + x + x + self.fire(x))

    comparison = sd.energy(lively(Net(Sum(), neuron=integer())), images()).comparison
    assert comparison.steps == 12


def test_a_network_without_a_neuron_gets_no_verdict():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    report = sd.energy(model, images())
    text = str(report)
    assert text.startswith("NO VERDICT: the network has no spiking neuron")
    assert "pays" not in text and "NOT pay" not in text
    audit = sd.audit(model, images())
    assert not audit.ok and not audit.ok_as_released
    assert audit.verdict().startswith("No verdict: the network has no spiking neuron")


def test_a_silent_network_gets_no_verdict():
    model = Net(conv_bn(8, 8))
    nn.init.constant_(model.encode.inner[1].bias, -100.0)
    nn.init.constant_(model.planted.inner[1].bias, -100.0)
    report = sd.energy(model.eval(), images())
    assert report.measurement.doubts == (ALL_SILENT,) and report.measurement.spikes == 0
    assert str(report).startswith("NO VERDICT: no neuron fired") and "pays" not in str(report)


def test_errors():
    model = Net().eval()
    with pytest.raises(InputError, match="choose one of released, folded, expanded"):
        in_form(model, "fused")
    with pytest.raises(InputError, match="a graph is counted as it is"):
        measure(trace(model, images()), images(), form="folded")
