"""Trace, audit, counts and energy of networks that this package has never seen."""

import pytest
import torch

import spikedriven as sd
from spikedriven.graph import Count, run
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import cost
from spikedriven.graph.measurement import measure
from tests.foreign.looked_at import batch, graph, measured, network, outputs
from tests.foreign.networks import BY_NAME, FOREIGN, Foreign

each = pytest.mark.parametrize("one", FOREIGN, ids=str)
#: A forward that makes a number of the batch size, with ``len(x)``, is traced for that size.
FIXED = ("sew_resnet_add", "sew_resnet_and")


@each
def test_the_graph_computes_what_the_network_computes(one: Foreign):
    found = graph(one.name)
    assert len(found.find("neuron")) == one.neurons
    assert found.dynamic_batch == (one.name not in FIXED)
    with torch.no_grad():
        expected = outputs(network(one.name)(*one.inputs(4)))
    for ours, theirs in zip(outputs(run(found, batch(one))), expected, strict=True):
        assert torch.equal(ours, theirs)


@each
def test_audit(one: Foreign):
    report = sd.audit(graph(one.name))
    assert tuple((row.module, row.op) for row in report.findings) == one.findings
    assert tuple(row.module for row in report.encoding) == one.encoding
    assert report.neurons == one.neurons and report.ok == (not one.findings)


@each
def test_energy(one: Foreign):
    """Every layer that spikes has a rate that was seen; counts never exceed what can be."""
    found = measured(one.name)
    assert found.time_steps == one.steps and found.steps == one.steps * one.levels
    assert found.doubts == () and found.images == 4
    for name in CONVENTIONS:
        report = cost(found, name)
        assert report.total_mj > 0 and not report.silent
    for layer in found.layers:
        assert all(0 <= read.rate <= read.levels for read in layer.reads if read.spiking)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 16 x 16 positions, 8 channels read by 8 kernels of 3 x 3, two steps
        ("sew_resnet_add", {"blocks.0.conv1.layers.0": 2 * 256 * 8 * 8 * 9, "fc": 2 * 512 * 5}),
        # 8 x 12 positions, dilated 3 x 3 from 8 to 12; grouped 1 x 3 on 4 x 7 from 4 to 12
        ("odd_convolutions", {"dilated": 2 * 96 * 12 * 8 * 9, "grouped": 2 * 4 * 7 * 12 * 4 * 3}),
        # 24 places, 5 of 6 channels; 12 places, 3 of 6; 6 tokens of 12 numbers
        (
            "sequence",
            {"conv1": 2 * 24 * 12 * 6 * 5, "conv2": 2 * 12 * 12 * 6 * 3, "mix": 2 * 6 * 12 * 16},
        ),
        # each of 8 x 8 positions of 8 channels is spread over 2 x 2 x 8
        ("unet", {"transposed": 2 * 64 * 8 * 4 * 8}),
        # 3 steps in 3 calls
        ("event_loop", {"conv2": 3 * 16 * 16 * 8 * 9, "fc": 3 * 256 * 5}),
    ],
)
def test_operations_counted_by_hand(name, expected):
    """Additions are operations times the rate that the operand itself shows."""
    layers = {layer.name: layer for layer in measured(name).layers}
    for layer, ops in expected.items():
        assert layers[layer].ops == ops
    row = next(row for row in cost(measured(name)).rows if row.sops)
    assert row.sops == pytest.approx(layers[row.name].ops * layers[row.name].rate)


def test_sums_of_spikes_are_counts_that_grow():
    """SEW's ADD hands on counts up to 3 after two blocks; its AND stays binary."""
    counts = [node.kind for node in graph("sew_resnet_add").find("add")]
    assert counts == [Count(2), Count(3)]
    assert all(row.verdict == "addition only" for row in sd.audit(graph("sew_resnet_and")).rows
               if row.op == "multiply")  # fmt: skip


def test_a_loop_over_steps_costs_what_all_steps_at_once_cost():
    loop, at_once = (BY_NAME[name].make().double() for name in ("event_loop", "event_steps"))
    at_once.load_state_dict(loop.state_dict())
    frames = BY_NAME["event_loop"].inputs(4)[0].double()
    one, other = measure(loop, frames), measure(at_once, frames)
    assert one.spikes == other.spikes > 0 and one.steps == other.steps == 3
    for name in set(CONVENTIONS) - {
        "all-ops"
    }:  # that one counts the sum over steps and its quotient
        ours, theirs = cost(one, name), cost(other, name)
        assert ours.total_mj == pytest.approx(theirs.total_mj, rel=1e-12)
        pairs = zip(ours.comparison.partners, theirs.comparison.partners, strict=True)
        assert all(a.ann_mj == pytest.approx(b.ann_mj, rel=1e-12) for a, b in pairs)


def test_calibrate_sets_every_batch_norm():
    one = BY_NAME["two_inputs"]
    torch.manual_seed(0)
    net = one.build()
    assert sd.calibrate(net, batch(one, 8)) == 3
    norm, events = net.events.layers[1], one.inputs(8)[1]
    currents = net.events.layers[0](events.transpose(0, 1).flatten(0, 1))
    torch.testing.assert_close(norm.running_mean, currents.mean((0, 2, 3)))
    labelled = [(*one.inputs(4), torch.zeros(4)), (one.inputs(4), torch.zeros(4))]
    assert (
        sd.calibrate(net, labelled) == 3
    )  # what follows the inputs is labels, however they are packed
