"""A neuron that a user writes in PyTorch's operators is one neuron of the graph, whatever it is
made of.
"""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.export import export_nir, export_onnx
from spikedriven.graph.kinds import Count, Membrane, Scaled, Spike
from spikedriven.graph.neuron_calls import neuron_spec
from spikedriven.kernels.spec import LIFSpec
from spikedriven.neurons import (
    LIF,
    AdaptiveLIF,
    Neuron,
    StreamState,
    ThresholdLIF,
    fire,
    open_stream,
)

STEPS = 3


class Leaky(Neuron):
    """A LIF neuron as a user writes it, with a rule that the graph has none for (erf) in the
    middle.
    """

    def forward(self, x):
        v, spikes = self.membrane, []
        for x_t in x:
            v = x_t if v is None else v * torch.erf(torch.tensor(0.6)) + x_t
            s = fire(v - 1.0, "triangle")
            v = v * (1.0 - s.detach())
            spikes.append(s)
        self.keep(membrane=v)
        return torch.stack(spikes)


class Told(Leaky):
    """The same as far as anyone can see, and it says its constants: 0.5 leaks of a plain LIF
    neuron.
    """

    def spec(self):
        return LIFSpec(2.0, 1.0, 0.0, True, True, False)

    def forward(self, x):
        return LIF()(x * 1.0)


class Levels(Neuron):
    """Counts 0..3 of half a unit, with a layer of its own inside."""

    levels, unit = 3, 0.5

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16, bias=False)
        nn.init.eye_(self.inner.weight)

    def forward(self, x):
        return 0.5 * self.inner(x).floor().clamp(0, 3)


class Net(nn.Module):
    """Event frames [B, T, C, H, W]: conv, neuron, conv, the same neuron again, classifier."""

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.neuron, self.head = neuron, nn.Linear(6, 4)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.mul_(6.0)

    def over_time(self, layer, x):
        return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def forward(self, x):
        spikes = self.neuron(self.over_time(self.first, x.transpose(0, 1)))
        spikes = self.neuron(self.over_time(self.second, spikes))
        return self.head(spikes.mean((-2, -1))).mean(0)


def net(neuron: Neuron) -> Net:
    torch.manual_seed(0)
    return Net(neuron).double().eval()


def frames(batch: int = 2) -> torch.Tensor:
    return torch.randn(
        batch, STEPS, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize(
    ("neuron", "kind", "spec"),
    [
        (Leaky(), Spike(), None),
        (Told(), Spike(), Told().spec()),
        (Levels(), Scaled(Count(3), 0.5), None),
        (AdaptiveLIF(), Spike(), None),
        (ThresholdLIF(v_threshold=0.5), Spike(), ThresholdLIF(v_threshold=0.5).spec()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Neuron) else "",
)
def test_each_call_is_one_node(neuron, kind, spec):
    graph = sd.trace(net(neuron), frames())
    ops = [node.op for node in graph if node.op not in ("reshape", "identity")]
    assert ops == ["input", "conv", "neuron", "conv", "neuron", "mean", "linear", "mean"]
    for node in graph.find("neuron"):
        assert (node.module, node.kind, node.shape) == ("neuron", kind, (STEPS, 1, 6, 16, 16))
        assert neuron_spec(graph, node) == spec and list(node.inputs) == ["x"]


def test_the_constants_of_operators_are_read_off_the_graph():
    neuron = LIF(1.5, 0.5, -0.25, decay_input=False)
    graph = sd.trace(net(neuron), frames())
    assert [neuron_spec(graph, node) for node in graph.find("neuron")] == [neuron.spec()] * 2


def test_the_graph_runs_and_its_neurons_are_measured():
    model, x = net(Leaky()), frames()
    rates = sd.firing_rates(model, x)
    assert list(rates) == ["neuron"] and 0.05 < rates["neuron"] < 0.9
    rows = {row.name: row for row in sd.energy(model, x).rows}
    with torch.no_grad():
        spikes = model.neuron(model.over_time(model.first, x.transpose(0, 1)))
    assert rows["second"].rate == pytest.approx(spikes.mean().item(), rel=1e-12)
    assert {row.op: row.verdict for row in sd.audit(model, x).rows}["conv"] == "addition only"


def test_counts_of_an_own_unit_fold_into_the_next_weights():
    report = sd.audit(net(Levels()), frames())
    assert "once the factor 0.5 is folded" in str(report).replace("\n", " ")


def test_it_streams_one_step_at_a_time():
    model, x, state, spikes = net(Leaky()).neuron, frames().transpose(0, 1), {}, []
    for t in range(STEPS):
        with open_stream(model, StreamState(state)) as state:
            spikes.append(model(2 * x[t : t + 1]))
    assert torch.equal(torch.cat(spikes), model(2 * x)) and set(state) == {""}


def test_it_trains():
    torch.manual_seed(0)
    model = Net(Leaky())
    x, labels = frames(16).float(), torch.arange(16) % 4
    x[:, :, 0] += (labels % 2).view(-1, 1, 1, 1)
    x[:, :, 1] += (labels // 2).view(-1, 1, 1, 1)
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("build", [Leaky, ThresholdLIF])
def test_onnx_holds_its_operators(build, tmp_path):
    report = export_onnx(net(build()).float(), frames().float(), tmp_path / "net.onnx")
    assert report.ok and report.largest_difference < 1e-4


def test_nir_takes_it_with_a_spec_and_lists_it_without(tmp_path):
    told = export_nir(net(Told()), frames(), tmp_path / "told.nir")
    assert told.same_spikes == 1.0 and not [item for item in told.left_out if item.op == "neuron"]
    silent = export_nir(net(Leaky()), frames(), tmp_path / "silent.nir")
    assert [item.why for item in silent.left_out if item.op == "neuron"] == [
        "a neuron that says no constants (spec) which NIR could hold"
    ] * 2


class Loop(nn.Module):
    """A loop over time that hands the membrane from call to call itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron = nn.Conv2d(2, 6, 3, padding=1), WithMembrane()

    def forward(self, x):
        v, logits = torch.zeros(()), []
        for x_t in x.unbind(1):
            s, v = self.neuron(self.first(x_t), v)
            logits.append(s.mean((-2, -1)))
        return torch.stack(logits).mean(0)


class WithMembrane(Neuron):
    def forward(self, x, v):
        v = 0.5 * v + x
        s = (v >= 1.0).to(x.dtype)
        return s, v * (1.0 - s)


def test_a_membrane_that_goes_to_the_next_call_is_one():
    graph = sd.trace(Loop().double(), frames())
    assert len(graph.find("neuron")) == STEPS and len(graph.find("membrane")) == STEPS - 1
    assert {node.kind for node in graph.find("membrane")} == {Membrane()}
    later = graph.find("neuron")[1]
    assert {graph[source].op for source in later.inputs.values()} == {"conv", "membrane"}


def test_two_values_for_the_network_are_refused():
    class Leaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = WithMembrane()

        def forward(self, x):
            return sum(self.neuron(x, torch.zeros(())))

    with pytest.raises(
        InputError, match=r"the neuron neuron hands 2 values.*returns its spikes alone"
    ):
        sd.trace(Leaks(), torch.randn(2, 3))


def test_a_neuron_that_reads_weights_alone_is_a_constant():
    class Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.neuron = nn.Parameter(torch.linspace(0, 2, 5)), Leaky()

        def forward(self, x):
            return x + self.neuron(self.table.expand(2, 5))[0]

    graph = sd.trace(Bias(), torch.randn(2, 5))
    assert not graph.find("neuron") and graph.outputs
    assert sd.energy(Bias(), torch.randn(2, 5)).rows is not None
