"""Neurons and surrogates by name: one list for families, recipes and the command line."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.kernels import arrays
from spikedriven.neurons import (
    LIF,
    Neuron,
    lif_naive,
    list_neurons,
    neuron_factory,
    register_neuron,
    register_surrogate,
    registry,
    surrogate,
)
from spikedriven.neurons.surrogate import SURROGATES, surrogate_named
from spikedriven.neurons.watch import neurons_of


@pytest.fixture
def own_names(monkeypatch):
    """Registrations of a test end with it."""
    monkeypatch.setattr(registry, "_NEURONS", dict(registry._NEURONS))
    monkeypatch.setattr(surrogate, "_DEFINED", dict(surrogate._DEFINED))
    kept = dict(SURROGATES)
    yield
    SURROGATES.clear()
    SURROGATES.update(kept)


class Step(Neuron):
    """Fires where the input reaches its threshold."""

    def __init__(self, height: float = 1.0) -> None:
        super().__init__()
        self.height = height

    def rescale(self, factor: float) -> None:
        self.height *= factor

    def forward(self, x):
        return (x >= self.height).to(x.dtype)


def test_a_name_and_options_build_a_neuron(own_names):
    register_neuron("step")(Step)
    assert "step" in list_neurons()
    assert neuron_factory("step")().height == 1.0
    assert neuron_factory({"name": "step", "height": 3.0})().height == 3.0
    assert neuron_factory("lif", tau=1.5)(v_threshold=0.5).options.v_threshold == 0.5
    chosen = neuron_factory({"name": "lif", "tau": 4.0, "surrogate": "triangle"}, tau=2.0)()
    assert (chosen.options.tau, chosen.options.surrogate, chosen.options.alpha) == (
        4.0,
        "triangle",
        1.0,
    )


def test_a_threshold_without_an_option_of_that_name_goes_through_rescale(own_names):
    register_neuron("step")(Step)
    assert neuron_factory("step", 2.0, v_threshold=0.5)().height == 0.5
    assert neuron_factory("integer")(v_threshold=0.5).threshold == 0.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: neuron_factory("integr"), "did you mean integer"),
        (lambda: neuron_factory({"tau": 2.0}), "with its name and options"),
        (lambda: neuron_factory(LIF), "chosen by name"),
        (
            lambda: neuron_factory("lif", v_treshold=0.5)(),
            "no option 'v_treshold'; did you mean v_threshold",
        ),
        (lambda: neuron_factory("if", 1.5), "has no time constant"),
        (
            lambda: register_neuron("lif")(Step),
            "the name 'lif' belongs to spikedriven.neurons.lif.LIF",
        ),
        (lambda: register_neuron("relu")(nn.ReLU), "is no neuron"),
        (lambda: register_neuron("relu")(LIF()), "is no neuron"),
        (lambda: LIF(surrogate="triangel"), "did you mean triangle"),
        (lambda: register_surrogate("atan")(lambda u, alpha: u), "the name 'atan' belongs to"),
        (lambda: register_surrogate("new", alpha=0.0), "alpha must be positive"),
    ],
)
def test_wrong_names_are_told(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_the_same_class_may_be_registered_again(own_names):
    for _ in range(2):  # a notebook's cell that runs twice
        register_neuron("step")(Step)
    assert neuron_factory("step")().height == 1.0


FAMILIES = {
    "sdt_2_256_cifar": {"embed_dim": 16},
    "spikingformer_2_384_cifar": {"embed_dim": 16, "num_heads": 2},
    "meta_spikeformer_15m": {"embed_dims": (16, 16, 32, 32)},
    "e_spikeformer_5m": {"embed_dims": (16, 16, 32, 32)},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_every_registered_neuron(own_names, name):
    register_neuron("step")(Step)
    x = torch.rand(1, 3, 32, 32)
    for choice in (*list_neurons(), {"name": "alif", "beta": 0.5}):
        model = sd.create_model(
            name, neuron=choice, img_size=32, num_classes=3, time_steps=2, **FAMILIES[name]
        )
        asked = choice if isinstance(choice, str) else choice["name"]
        built = {type(neuron) for neuron in neurons_of(model).values()}
        assert built == {registry.neuron_class(asked)} and model(x).isfinite().all()


def test_parameters_of_neurons_are_not_decayed():
    model = sd.create_model("sdt_2_256_cifar", neuron="threshold_lif", embed_dim=16, img_size=32)
    assert model.no_weight_decay() == {f"{name}.log_threshold" for name in neurons_of(model)}


@pytest.mark.parametrize("name", ["sigmoid", "atan", "triangle", "rectangle"])
def test_slopes_have_an_area_of_one_and_are_even(name):
    u = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    one = torch.ones_like(u)
    for alpha in (surrogate_named(name).alpha, 3.0):
        slope = surrogate_named(name).gradient(u.clone(), alpha, one, torch.empty_like(u))
        assert slope.sum().item() * 1e-3 == pytest.approx(1.0, abs=3e-3)
        torch.testing.assert_close(slope, slope.flip(0))
        assert slope.max() == slope[400_000] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["triangle", "rectangle", "laplace"])
def test_what_the_kernels_lack_learns_through_the_general_code(own_names, name, dtype):
    """Forward is the kernels'; backward must not take a kernel's slope for another."""

    @register_surrogate("laplace", alpha=2.0)
    def laplace(u, alpha):
        return alpha / 2 * torch.exp(-alpha * u.abs())

    x = torch.randn(4, 5, 6, dtype=dtype, requires_grad=True)
    neuron = LIF(surrogate=name)
    found, expected = neuron(x), lif_naive(x, options=neuron.options)[0]
    grads = [torch.autograd.grad(out.sum(), x)[0] for out in (found, expected)]
    assert torch.equal(found, expected) and grads[1].abs().max() > 0 and neuron.compiled() is None
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-7)
    assert LIF().compiled() is not None or not arrays.takes(x)


def test_a_slope_of_another_shape_is_refused(own_names):
    register_surrogate("wrong")(lambda u, alpha: torch.ones(()))
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(InputError, match="slope has the shape of u"):
        LIF(surrogate="wrong")(x).sum().backward()


def test_a_class_with_a_forward_of_its_own_is_not_merged_into_kernels():
    class Louder(LIF):
        def forward(self, x):
            return super().forward(2 * x)

    assert Louder().compiled() is None and math.isinf(neuron_factory("if")().options.tau)


def test_the_page_on_neurons_runs(own_names):
    """Each block of docs/add_a_neuron.md, one after the other; its table names every registered
    neuron.
    """
    page = (Path(__file__).parents[2] / "docs" / "add_a_neuron.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == list_neurons()
    names = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert "slow_lif" in list_neurons() and "laplace" in SURROGATES
