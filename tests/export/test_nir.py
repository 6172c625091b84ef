"""NIR files: what they hold computes what torch computes, spike for spike; what they cannot
hold is listed.
"""

import nir
import numpy as np
import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.export import export_nir
from spikedriven.export.nir_run import run_nir
from spikedriven.graph.calibrate import calibrate
from spikedriven.neurons import LIF, ParametricLIF
from spikedriven.runs.target import random_batch
from tests.built import build_weights
from tests.graph.networks import STEPS, Attention, Fold, Mask, Net, conv_bn, images, integer


def exact(model, batch):
    """float64, with weights and statistics that float32 can hold, so that a file in float32
    loses nothing.
    """
    calibrate(model.eval(), batch)
    return model.float().double().eval(), batch.double()


class Plain(Net):
    """Net without batch norms, which fusing would fold in double precision."""

    def __init__(self, planted=None, **options):
        super().__init__(planted, **options)
        self.encode = Fold(nn.Conv2d(3, 8, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.uniform_(module.weight, -1, 3)  # every layer fires
        nn.init.uniform_(self.head.weight)


@pytest.mark.parametrize(
    "neuron",
    [
        LIF,
        ParametricLIF,
        lambda: LIF(tau=1.5, v_reset=-0.25, v_threshold=0.3),
        lambda: LIF(tau=3.0, decay_input=False, v_threshold=0.4),
    ],
)
def test_a_plain_network_is_held_whole_and_equal(neuron, tmp_path):
    model, batch = exact(
        Plain(Fold(nn.Conv2d(8, 8, 3, stride=2, groups=4, padding=1)), neuron=neuron), images()
    )
    report = export_nir(model, batch, tmp_path / "net.nir")
    assert [item.why for item in report.left_out] == ["the reader averages over time"]
    assert report.inputs == {"input": "x"} and list(report.outputs) == ["to.head"]
    assert report.same_spikes == 1.0 and report.largest_difference < 1e-12
    assert "planted.inner.0.input" in report.type_check and "type_check=False" in str(
        report
    )  # a grouped convolution
    file = nir.read(tmp_path / "net.nir", type_check=False)
    logits = run_nir(file, {"input": batch[:1].expand(STEPS, -1, -1, -1)})["to.head"].mean(0)
    if not isinstance(
        model.head_fire, ParametricLIF
    ):  # its threshold of 1 keeps the head silent on means
        assert not torch.allclose(logits, model.head.bias)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(batch[:1])[0], rtol=1e-12, atol=1e-12)


def test_ties_fire_as_ours_do(tmp_path):
    """Input exactly at the threshold: NIR's ``>`` must not lose the spike."""
    model = Plain()
    with torch.no_grad():
        model.encode.inner[0].weight.zero_()
        model.encode.inner[0].bias.fill_(2.0)  # charges to exactly 1.0 = the threshold in one step
    batch = images().double()
    report = export_nir(model.double().eval(), batch, tmp_path / "net.nir")
    file = nir.read(tmp_path / "net.nir")
    file.nodes["to.fire"] = nir.Output({"output": np.array([8, 8, 8])})
    file.edges.append(("fire", "to.fire"))
    spikes = run_nir(file, {"input": batch[:1].expand(STEPS, -1, -1, -1)})["to.fire"]
    assert spikes.eq(1).all() and report.same_spikes == 1.0


def test_residual_sums_become_several_edges(tmp_path):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.fire, self.two = conv_bn(8, 8), LIF(), conv_bn(8, 8)

        def forward(self, x):
            y = self.one(x)
            return y + self.two(self.fire(y))

    model, batch = Net(Residual()), images()
    build_weights(model)
    report = export_nir(model, batch, tmp_path / "net.nir")
    edges = nir.read(tmp_path / "net.nir").edges
    assert sorted(a for a, b in edges if b == "fire2") == [
        "planted.one.inner.0",
        "planted.two.inner.0",
    ]
    assert report.same_spikes == 1.0 and report.largest_difference < 1e-4


def test_products_and_pools_stay_outside_with_an_edge_on_each_side(tmp_path):
    model, batch = Net(nn.Sequential(Fold(nn.MaxPool2d(2)), Attention(), Mask())), images()
    build_weights(model)
    report = export_nir(model, batch, tmp_path / "net.nir")
    left_out = {(item.op, item.module) for item in report.left_out}
    assert {
        ("maxpool", "planted.0.inner.0"),
        ("matmul", "planted.1"),
        ("multiply", "planted.2"),
    } <= left_out
    assert "to.fire" in report.outputs and "from.planted.0.inner.0.max_pool2d" in report.inputs
    assert report.same_spikes == 1.0
    text = str(report)
    assert (
        "1 maxpool: NIR has no primitive for aten::max_pool2d (first in planted.0.inner.0)" in text
    )


def test_an_operator_that_reorders_values_stays_outside(tmp_path):
    """Rows and columns swapped between two convolutions: the same number of values, in another
    order.
    """

    class Swap(nn.Module):
        def forward(self, x):
            return x.transpose(3, 4)

    model, batch = Net(nn.Sequential(conv_bn(8, 8), LIF(), Swap(), conv_bn(8, 8, 3))), images()
    build_weights(model)
    report = export_nir(model, batch, tmp_path / "net.nir")
    assert ("reshape", "planted.2") in {(item.op, item.module) for item in report.left_out}
    assert report.same_spikes == 1.0 and report.largest_difference < 1e-4


def test_integer_neurons_stay_outside(tmp_path):
    report = export_nir(Net(conv_bn(8, 8), neuron=integer()), images(), tmp_path / "net.nir")
    assert [item.why for item in report.left_out if item.op == "neuron"] == [
        "NIR's neurons emit at most one spike per step"
    ] * 3


@pytest.mark.parametrize(
    "name", ["sdt_2_256_cifar", "spikingformer_2_384_cifar", "meta_spikeformer_15m"]
)
def test_registered_names(name, tmp_path):
    keywords = (
        {}
        if "cifar" in name
        else {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2}
    )
    model = sd.create_model(name, img_size=16, time_steps=2, **keywords)
    batch = random_batch(model, 2)
    build_weights(model)
    report = export_nir(model, batch, tmp_path / "net.nir")
    assert report.same_spikes == 1.0 and report.largest_difference < 1e-4
    assert not {item.op for item in report.left_out} & {
        "conv",
        "linear",
        "neuron",
        "batchnorm",
        "scale",
        "add",
    }
    assert report.type_check == ""
    file = nir.read(
        tmp_path / "net.nir"
    )  # with nir's own check of shapes, as other libraries read it
    assert "head" in file.nodes and file.metadata["dt"] == 1.0


def test_what_is_read_as_a_vector_is_flattened_in_the_file(tmp_path):
    """The mean over an image is a pool of one pixel in NIR, and a linear layer reads a vector."""
    export_nir(Net(), images(), tmp_path / "net.nir")
    file = nir.read(tmp_path / "net.nir")
    flat = {name: node for name, node in file.nodes.items() if isinstance(node, nir.Flatten)}
    assert flat and all((node.start_dim, node.end_dim) == (0, -1) for node in flat.values())
    for name in flat:
        (after,) = (file.nodes[b] for a, b in file.edges if a == name)
        assert not isinstance(after, nir.Conv2d)


def test_the_interpreter_says_what_it_misses():
    graph = nir.NIRGraph(
        {
            "a": nir.Input({"input": np.array([2])}),
            "b": nir.Delay(np.array([1.0, 1.0])),
            "c": nir.Output({"output": np.array([2])}),
        },
        [("a", "b"), ("b", "c")],
    )
    with pytest.raises(InputError, match="has an input 'a', which was not given"):
        run_nir(graph, {})
    with pytest.raises(InputError, match="knows no NIR node Delay"):
        run_nir(graph, {"a": torch.zeros(1, 2)})
