"""The graph says what the network computes: nodes, attributes, kinds, shapes; and what it
cannot read.
"""

import pytest
import torch
from torch import nn

from spikedriven.errors import InputError
from spikedriven.graph import (
    Analog,
    Constant,
    Count,
    Input,
    Membrane,
    Scaled,
    Spike,
    Weight,
    calls,
    constants,
    register_rule,
    run,
    trace,
)  # fmt: skip
from spikedriven.neurons import LIF
from tests.graph.networks import STEPS, Attention, Mask, Net, images, integer


class Calls(nn.Module):
    """A function of the tensor as a model."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def kind_after(function):
    """The kind of ``function(model, spikes)`` for spikes [1, B, 3, 8, 8]."""
    model = Calls(lambda m, x: function(m, m.fire(x.unsqueeze(0))), fire=LIF())
    graph = trace(model, images())
    return graph[graph.outputs[0]].kind


def test_nodes_carry_module_paths_options_and_weight_names():
    graph = trace(Net(), images())
    conv, neuron = graph.find("conv")[0], graph.find("neuron")[0]
    assert conv.module == "encode.inner.0"
    assert conv.attrs["weight"] == Weight("encode.inner.0.weight", (8, 3, 3, 3))
    assert {k: conv.attrs[k] for k in ("bias", "stride", "padding", "dilation", "groups")} == {
        "bias": None, "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1,
    }  # fmt: skip
    assert neuron.module == "fire" and neuron.kind == Spike()
    assert (neuron.attrs["tau"], neuron.attrs["v_threshold"], neuron.attrs["v_reset"]) == (
        2.0,
        1.0,
        0.0,
    )
    norm = graph.find("batchnorm")[0]
    assert (
        norm.attrs["running_mean"].name == "encode.inner.1.running_mean"
        and norm.attrs["eps"] == 1e-5
    )
    assert graph.consumers(conv.id) == [norm] and graph.operands(norm) == [conv]


def test_shapes_are_for_one_image_whatever_the_example_held():
    for batch in (1, 2, 5):
        graph = trace(Net(), images(batch))
        assert graph.dynamic_batch and graph.batch_size == 1
        assert graph.find("conv")[0].shape == (STEPS, 8, 8, 8)
        assert graph.find("neuron")[0].shape == (STEPS, 1, 8, 8, 8)
        assert graph[graph.outputs[0]].shape == (1, 5)


def test_the_graph_runs_as_the_model_does_for_any_batch():
    model = Net(Attention()).eval()
    graph = trace(model, images())
    for batch in (1, 4):
        torch.testing.assert_close(run(graph, images(batch)), model(images(batch)), rtol=0, atol=0)


def test_visiting_sees_the_value_of_every_node():
    graph, seen = trace(Net(Mask()), images()), {}
    run(graph, images(1), lambda node, value: seen.update({node: value.shape}))
    assert {node.id: tuple(seen[node.id]) for node in graph} == {
        node.id: node.shape for node in graph
    }


def test_tracing_leaves_the_training_modes_alone():
    model = Net()
    model.fire.eval()
    trace(model, images())
    assert model.training and model.encode.training and not model.fire.training


def test_a_model_can_name_another_method_to_trace():
    class Pretraining(Net):
        graph_method = "encoded"

        def forward(self, x):
            return x[torch.rand(8) > 0.5]  # nothing that a graph could show

        def encoded(self, x):
            return super().forward(x)

    model = Pretraining()
    assert len(trace(model, images()).find("neuron")) == 3
    assert "forward" not in vars(model)


def test_attention_kinds():
    graph = trace(Net(Attention(width=8, heads=2)), images())
    tokens, d = 64, 4
    inner, outer = graph.find("matmul")
    assert inner.kind == Count(tokens) and outer.kind == Count(tokens * d)
    assert graph.find("scale")[0].kind == Scaled(Count(tokens * d), 0.125)


def test_mask_kinds():
    graph = trace(Net(Mask()), images())
    assert [node.kind for node in graph.find("multiply")] == [Spike(), Spike()]
    assert graph.find("sum")[0].kind == Count(64)


def test_integer_neurons():
    assert trace(Net(neuron=integer()), images()).find("neuron")[0].kind == Scaled(Count(4), 0.25)
    assert trace(Net(neuron=integer(1.0)), images()).find("neuron")[0].kind == Count(4)


def _written_over(s):
    """Slices of a tensor written one after the other, then the whole changed in place."""
    out = torch.zeros(2, *s.shape[1:])
    for t in range(2):
        out[t] = s[0]
    out += s
    return out


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda m, s: s.permute(1, 0, 2, 3, 4).reshape(3, -1)[:, 1:], Spike()),
        (lambda m, s: torch.cat([s, s], dim=2).chunk(2, dim=2)[1], Spike()),
        (lambda m, s: torch.stack([s, s + s]), Count(2)),
        (lambda m, s: nn.functional.max_pool2d(s.flatten(0, 1), 3, 2, 1), Spike()),
        (lambda m, s: nn.functional.pad(s, (1, 1)), Spike()),
        (lambda m, s: nn.functional.pad(s, (1, 1), value=0.5), Analog()),
        (
            lambda m, s: nn.functional.avg_pool2d(s.flatten(0, 1), 2),
            Scaled(Count(4), 0.25, averaged=True),
        ),
        (
            lambda m, s: nn.functional.adaptive_avg_pool2d(s[0], 1),
            Scaled(Count(64), 1 / 64, averaged=True),
        ),
        (lambda m, s: s.mean(0), Spike()),  # one time step: the mean is the spike
        (lambda m, s: s * 0.125, Scaled(Spike(), 0.125)),
        (lambda m, s: s * 1.0, Spike()),
        (lambda m, s: 0.5 * s / 2, Scaled(Spike(), 0.25)),
        (lambda m, s: 1 - s, Spike()),
        (lambda m, s: s - s, Count(1, -1)),
        (lambda m, s: s.add_(s), Count(2)),
        (lambda m, s: torch.einsum("tbchw,tbdhw->tbcd", s, s), Count(64)),
        (lambda m, s: torch.einsum("tbchw->tbhwc", s), Spike()),
        (lambda m, s: torch.einsum("...hw->...", s), Count(64)),
        (lambda m, s: torch.einsum("...ij,...jk", s, s), Count(8)),
        (lambda m, s: torch.einsum("tbchw,c->tbhw", s, torch.arange(3.0)), Analog()),
        (lambda m, s: torch.relu(s - s), Spike()),
        (lambda m, s: torch.relu(s - 0.5), Analog()),
        (lambda m, s: (s + s).clamp(max=1), Spike()),
        (lambda m, s: (s + s).clamp(max=1.5), Analog()),
        (lambda m, s: nn.functional.avg_pool2d(s[0], 2, divisor_override=1), Count(4)),
        (
            lambda m, s: nn.functional.adaptive_avg_pool2d(s[0], 5),
            Scaled(Count(2), 0.5, averaged=True),
        ),
        (lambda m, s: nn.functional.adaptive_avg_pool2d(s[0], 8), Spike()),
        (lambda m, s: _written_over(s), Count(2)),
        (lambda m, s: (s * 0.3 > 0.1).to(s.dtype), Spike()),
        (lambda m, s: torch.where(s > 0, s, torch.zeros_like(s)), Spike()),
        (lambda m, s: s * torch.arange(8), Analog()),
        (lambda m, s: m.fire.forward(s) + s, Count(2)),
    ],
)
def test_kind_of(function, expected):
    assert kind_after(function) == expected


def test_weights_alone_are_constants_with_values():
    model = Calls(
        lambda m, x: x * (m.norm.weight / (m.norm.running_var + 1e-5).sqrt()).view(-1, 1, 1),
        norm=nn.BatchNorm2d(3),
    )
    model.norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    graph = trace(model, images())
    (scale,) = graph.find("scale")
    factor = graph[scale.inputs["other"]]
    assert factor.kind == Constant() and scale.kind == Input()
    torch.testing.assert_close(
        constants(graph)[factor.id].flatten(), torch.tensor([1.0, 2.0, 3.0]) / (1 + 1e-5) ** 0.5
    )


def test_shapes_are_no_values():
    """``zeros_like`` reads no number, and what only feeds it is not part of the network."""
    graph = trace(
        Calls(lambda m, x: x + torch.zeros_like(x[:1, :1] * 3) + torch.full_like(x, 2.0)), images()
    )
    assert [node.op for node in graph] == ["input", "constant", "add", "constant", "add"]
    zeros, twos = constants(graph).values()
    assert zeros.shape == (1, 1, 8, 8) and not zeros.any() and (twos == 2).all()


def test_the_membrane_is_an_output_of_its_own():
    from spikedriven.neurons import lif

    def both(m, x):
        spikes, membrane = lif(x.unsqueeze(0))
        return spikes[0] + membrane

    graph = trace(Calls(both), images())
    assert graph.find("membrane")[0].kind == Membrane()
    assert graph.find("add")[0].kind == Analog()


def test_an_input_of_counts_can_be_declared():
    assert trace(Net(), images(), input_kind=Count(255)).find("repeat")[0].kind == Count(255)


def test_a_module_called_twice_keeps_its_name():
    graph = trace(Calls(lambda m, x: m.fire(m.fire(x.unsqueeze(0))), fire=LIF()), images())
    assert [node.module for node in graph.find("neuron")] == ["fire", "fire"]


def test_an_unknown_operator_is_named_with_its_module_and_the_way_out():
    model = Net(Calls(lambda m, x: torch.cumsum(x, 0)))
    with pytest.raises(
        InputError, match=r"aten::cumsum, called in planted;.*register_rule\('aten::cumsum'"
    ):
        trace(model, images())


def test_a_rule_can_be_registered(monkeypatch):
    monkeypatch.setattr(calls, "RULES", dict(calls.RULES))
    register_rule("aten::cumsum", op="sum")(lambda call: Count(call.shape[0]))
    graph = trace(Net(Calls(lambda m, x: torch.cumsum(x, 0))), images())
    assert graph.find("sum")[0].kind == Count(STEPS)
    with pytest.raises(InputError, match="operator class 'summ' is not known"):
        register_rule("aten::cumsum", op="summ")


def test_a_model_that_cannot_be_exported_says_why():
    with pytest.raises(
        InputError, match=r"cannot trace Calls with an example of shape \[2, 3, 8, 8\]"
    ):
        trace(Calls(lambda m, x: x if x.sum() > 0 else -x), images())
    with pytest.raises(InputError, match=r"a batch of at least one example, .* found str"):
        trace(Net(), "image")


def test_a_model_with_a_fixed_batch_runs_only_with_it():
    model = Calls(lambda m, x: m.fire(x.reshape(1, 2, -1)), fire=LIF())
    graph = trace(model, images(2))
    assert not graph.dynamic_batch and graph.batch_size == 2
    with pytest.raises(InputError, match="fixed batch of 2, found a batch of 3"):
        run(graph, images(3))
