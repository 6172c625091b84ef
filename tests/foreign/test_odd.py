"""Odd networks: every command works, or says clearly what it cannot do."""

from pathlib import Path

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import FoldWarning, InputError
from spikedriven.graph import run
from tests.foreign.odd import Gates, Shared, Tokens, WithoutTime


def made(build: type[nn.Module]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net, words = build().eval(), build is Tokens
    x = torch.randint(0, 20, (3, 6)) if words else torch.randn(3, 3, 8, 8)
    sd.calibrate(net, x)
    return net, x


FINDINGS = {
    Shared: [],
    Gates: [
        ("squeeze", "linear"),
        ("", "activation"),
        ("excite", "linear"),
        ("", "activation"),
        ("", "multiply"),
    ],
    Tokens: [("attention", "activation"), ("attention", "linear"), ("norm", "activation")],
}


@pytest.mark.parametrize("build", FINDINGS)
def test_graph_audit_and_rates(build):
    net, x = made(build)
    graph = sd.trace(net, x)
    with torch.no_grad():
        torch.testing.assert_close(run(graph, x), net(x), rtol=1e-6, atol=1e-6)
    found = [(row.module, row.op) for row in sd.audit(graph).findings]
    assert found == FINDINGS[build]
    assert sd.energy(graph, x).measurement.spikes > 0
    rates = sd.firing_rates(net, x)
    assert len(rates) == len([m for m in net.modules() if type(m).__name__ == "LIF"])


def test_what_a_slice_was_written_with_is_part_of_the_graph():
    graph = sd.trace(*made(Shared))
    assert [node.target for node in graph.find("cat")] == ["aten::select_scatter"] * 2
    assert str(graph.find("cat")[-1].kind) == "spike"


def test_fuse_names_the_factor_in_the_forward():
    net, x = made(Shared)
    with pytest.warns(FoldWarning, match="constant factor.*module of its own"):
        fused = sd.fuse(net, x)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [Gates, Tokens])
def test_nir_holds_what_it_can(build, tmp_path: Path):
    """A shuffle reorders channels, attention moves the batch axis: neither is drawn over."""
    report = sd.export_nir(*made(build), tmp_path / "net.nir")
    assert report.ok and report.largest_difference < 1e-5


def test_a_forgotten_time_axis_is_told(tmp_path: Path):
    net, x = made(WithoutTime)
    assert "take the batch for time steps" in sd.energy(net, x).measurement.warning()
    with pytest.raises(InputError, match=r"disturb one another .*x.unsqueeze\(0\).*: fire$"):
        sd.export_onnx(net, x, tmp_path / "net.onnx")
