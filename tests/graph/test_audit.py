"""The audit names what breaks the addition-only promise, and only that; no number decides."""

import json

import pytest
import torch
from torch import nn

from spikedriven.graph.audit import ADDITION, BROKEN, ENCODING, FOLDS, audit
from spikedriven.neurons import LIF
from tests.graph.networks import Attention, Fold, Mask, Net, conv_bn, images, integer


def rows(model, op=None, module=None):
    report = audit(model, images())
    return [
        r
        for r in report.rows
        if (op is None or r.op == op) and (module is None or r.module == module)
    ]


def finding(model):
    (row,) = audit(model, images()).findings
    return row


def test_a_spiking_network_passes_apart_from_its_encoding_layer():
    report = audit(Net(Mask()), images())
    assert report.ok and report.ok_as_released
    assert [row.module for row in report.encoding] == ["encode.inner.0"]
    assert [row.op for row in report.folded] == ["batchnorm"]
    products = [row for row in report.rows if row.op == "multiply"]
    assert [row.why for row in products] == ["a mask: logical AND"] * 2


def test_attention_scale_folds_into_the_next_threshold():
    (row,) = rows(Net(Attention()), op="scale")
    assert row.verdict == FOLDS and row.why == "folds into the threshold of planted.attn_fire"
    report = audit(Net(Attention()), images())
    assert report.ok and not report.ok_as_released
    assert [(r.classed, r.verdict) for r in report.rows if r.op == "matmul"] == [
        ("spike x spike", ADDITION)
    ] * 2


def test_planted_relu_is_found_and_named():
    report = audit(Net(nn.Sequential(conv_bn(8, 8), nn.ReLU(), conv_bn(8, 8))), images())
    activation, conv = report.findings
    assert (activation.module, activation.op, activation.classed) == (
        "planted.1",
        "activation",
        "activation",
    )
    assert "relu is not a spiking neuron" in activation.why
    assert conv.module == "planted.2.inner.0"
    assert conv.why == "reads real values from activation in planted.1, no neuron between"
    assert not report.ok and "planted.1 (activation), planted.2.inner.0 (conv)" in report.verdict()


def test_planted_average_pool_before_a_conv_is_found_and_named():
    row = finding(Net(nn.Sequential(Fold(nn.AvgPool2d(2)), conv_bn(8, 8))))
    assert (row.module, row.op, row.classed) == ("planted.1.inner.0", "conv", "real x weight")
    assert (
        row.why == "reads averages of spikes from avgpool in planted.0.inner.0, no neuron between"
    )
    assert row.operands == ("mean of count 0..4 x 0.25",)


def test_a_maximum_pool_before_a_conv_is_fine():
    assert audit(Net(nn.Sequential(Fold(nn.MaxPool2d(2)), conv_bn(8, 8))), images()).ok


def test_planted_softmax_is_found_and_named():
    factor, row = audit(Net(Attention(softmax=True)), images()).findings
    assert (factor.op, factor.module) == (
        "scale",
        "planted",
    )  # a temperature: no threshold takes it
    assert (row.module, row.op) == ("planted", "activation") and "softmax" in row.why
    last = rows(Net(Attention(softmax=True)), op="matmul")[-1]
    assert (last.classed, last.verdict) == ("spike x real", ADDITION)


def test_a_head_that_reads_averaged_membranes_is_found():
    row = finding(Net(Attention(), head_neuron=False))  # fire2 puts out spikes: their mean
    assert row.module == "head" and "averages of spikes from mean" in row.why

    class Membranes(Net):
        def forward(self, x):
            x = self.encode(x.unsqueeze(0))
            return self.head((x + self.planted(self.fire(x))).mean(dim=(3, 4))).mean(0)

    row = finding(Membranes(conv_bn(8, 8)))
    assert row.module == "head" and "real values from mean" in row.why


class DepthwiseThenPointwise(nn.Module):
    def __init__(self, between: nn.Module):
        super().__init__()
        self.depthwise = Fold(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False))
        self.between, self.pointwise = between, conv_bn(8, 8)

    def forward(self, x):
        return self.pointwise(self.between(self.depthwise(x)))


def test_two_linear_maps_without_a_neuron_pass_only_after_fusing():
    report = audit(Net(DepthwiseThenPointwise(nn.Identity())), images())
    by_module = {row.module: row for row in report.rows}
    assert by_module["planted.depthwise.inner.0"].verdict == ADDITION
    second = by_module["planted.pointwise.inner.0"]
    assert (second.verdict, second.classed) == (FOLDS, "real x weight")
    assert (
        second.why
        == "no neuron since planted.depthwise.inner.0: the chain is one linear map once fused"
    )
    assert report.ok and not report.ok_as_released
    assert audit(Net(DepthwiseThenPointwise(LIF())), images()).ok_as_released


class PaddedChain(nn.Module):
    """1x1 -> BN -> border filled with what BN makes of zero -> depthwise 3x3 -> 1x1 -> BN."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.second, self.third = (
            nn.Conv2d(8, 8, 3, groups=8, bias=False),
            nn.Conv2d(8, 8, 1, bias=False),
        )
        self.norm2 = nn.BatchNorm2d(8)

    def forward(self, x):
        norm = self.norm
        border = norm.bias - norm.running_mean * norm.weight * torch.rsqrt(
            norm.running_var + norm.eps
        )
        x = self.first(x)
        ring = nn.functional.pad(torch.zeros_like(x), (1, 1, 1, 1), value=1.0)  # reads a shape only
        y = nn.functional.pad(norm(x), (1, 1, 1, 1)) + ring * border.view(-1, 1, 1)
        return self.norm2(self.third(self.second(y)))


def test_a_reparameterisable_chain_passes_only_after_fusing():
    report = audit(Net(Fold(PaddedChain())), images())
    folds = {row.module.rpartition(".")[2]: row.why for row in report.folded if row.op == "conv"}
    why = "no neuron since planted.inner.0.first: the chain is one linear map once fused"
    assert folds == {"second": why, "third": why}
    assert report.ok and not report.ok_as_released


def test_a_chain_on_the_input_belongs_to_the_encoding_layer():
    class TwoMaps(Net):
        def __init__(self):
            super().__init__()
            self.again = conv_bn(8, 8)

        def forward(self, x):
            return self.head(
                self.fire(self.again(self.encode(x.unsqueeze(0)))).mean(dim=(3, 4)) > 0.5
            ).float()

    (row,) = rows(TwoMaps(), op="conv", module="again.inner.0")
    assert row.verdict == FOLDS and "encode.inner.0" in row.why


class LayerScale(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.gamma = inner, nn.Parameter(torch.ones(1, 1, 8, 1, 1))

    def forward(self, x):
        return x + self.gamma * self.inner(x)


def test_layer_scale_folds_into_the_layer_before_it():
    (row,) = rows(Net(LayerScale(conv_bn(8, 8))), op="scale")
    assert (row.verdict, row.why) == (FOLDS, "folds into the weights of planted.inner.inner.0")


def test_a_factor_that_nothing_takes_is_a_finding():
    """The scaled value goes into a residual sum and comes from another sum, in which spikes take
    part: no weight layer, no threshold.
    """

    class Blend(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(8, 1, 1))
            self.one, self.two = conv_bn(8, 8), conv_bn(8, 8)

        def forward(self, x):
            return self.one(x) + self.gamma * (self.two(x) + x)

    row = finding(Net(Blend()))
    assert (
        row.op == "scale" and row.why == "neither a weight layer nor a neuron next to it takes it"
    )


def test_batch_norm_goes_forward_where_nothing_is_behind_it():
    class Norm(nn.Module):
        def __init__(self, after: nn.Module):
            super().__init__()
            self.norm, self.after, self.a = Fold(nn.BatchNorm2d(8)), after, conv_bn(8, 8)

        def forward(self, x):
            return self.after(self.norm(self.a(x) + x))  # x are spikes: no weights there

    (row,) = rows(Net(Norm(conv_bn(8, 8))), module="planted.norm.inner.0")
    assert row.why == "folds into the weights of planted.after.inner.0"
    (row,) = rows(Net(Norm(nn.Identity())), module="planted.norm.inner.0")
    assert row.verdict == BROKEN  # a neuron has one threshold for all channels
    padded = Fold(nn.Conv2d(8, 8, 3, padding=1))  # its zero padding would need the shift too
    (row,) = rows(Net(Norm(padded)), module="planted.norm.inner.0")
    assert row.verdict == BROKEN


def test_a_shared_convolution_output_does_not_take_the_norm():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    assert finding(Net(Fold(Shared()))).op == "batchnorm"


def test_integer_neurons_fold_their_norm_into_the_next_weights():
    report = audit(Net(conv_bn(8, 8), neuron=integer()), images())
    row = next(row for row in report.rows if row.module == "planted.inner.0")
    assert (row.classed, row.verdict) == ("spike x weight", FOLDS)
    assert (
        row.why
        == "a count n adds its row n times (n up to 4), once the factor 0.25 is folded into these "
        "weights"
    )
    assert report.ok and not report.ok_as_released
    plain = rows(Net(conv_bn(8, 8), neuron=integer(1.0)), module="planted.inner.0")
    assert plain[0].verdict == ADDITION


def test_integer_attention_folds_through_both_products():
    products = rows(Net(Attention(neuron=integer()), neuron=integer()), op="matmul")
    assert [row.verdict for row in products] == [FOLDS, FOLDS]
    assert products[0].why == "constant factors fold into the threshold of planted.attn_fire"


def test_products_of_two_real_values():
    class Gate(nn.Module):
        def __init__(self, divide: bool):
            super().__init__()
            self.one, self.two, self.divide = conv_bn(8, 8), conv_bn(8, 8), divide

        def forward(self, x):
            return self.one(x) / self.two(x) if self.divide else self.one(x) * self.two(x)

    assert (finding(Net(Gate(False))).op, finding(Net(Gate(False))).classed) == (
        "multiply",
        "real x real",
    )
    assert (finding(Net(Gate(True))).op, finding(Net(Gate(True))).classed) == (
        "divide",
        "real x real",
    )


@pytest.mark.parametrize(
    "planted", [lambda: Attention(), lambda: nn.Sequential(conv_bn(8, 8), nn.GELU())]
)
def test_no_number_decides(planted):
    """Other weights (all zero, huge, negative) and another input: the same report."""
    reference = audit(Net(planted()), images())
    for fill in (0.0, -1e6):
        model = Net(planted())
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.fill_(fill)
        assert audit(model, torch.full((3, 3, 8, 8), fill)) == reference


def test_the_report_prints_and_serialises():
    report = audit(Net(Attention()), images())
    assert json.loads(json.dumps(report.to_dict()))["rows"][0]["verdict"] == ENCODING
    counts = nn.Sequential(conv_bn(8, 8), integer()(), conv_bn(8, 8))
    brief = audit(Net(counts, neuron=integer()), images()).brief()
    assert "planted.0.inner.0 and 1 more" in brief and "batchnorm  " not in brief
    text = str(report)
    assert text.startswith("As released: NOT addition-only (to fold: 5 batchnorm, 1 scale;")
    assert "planted.project.0.inner.0" in text and max(map(len, text.splitlines())) <= 180
