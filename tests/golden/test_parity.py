"""Every published network, in float64, against what the authors' code computes for the same weights and inputs."""

import pytest
import torch
import torch.nn.functional as F

import spikedriven as sd
from spikedriven.models import official_state_dict
from spikedriven.neurons import Neuron
from tests.golden import rule

REL = 1e-9
ALL = rule.files("sdt_", "spikingformer_")
#: 224 pixels in float64 take the better part of a minute each.
SOME_SLOW = [pytest.param(name, marks=pytest.mark.slow) if "224" in name else name for name in ALL]


def build(name):
    golden, entry = rule.load(name), rule.INDEX[name]
    keywords = dict(entry["keywords"])
    model = sd.create_model(entry["model"], **keywords).double()
    sd.load_official(model, rule.weights(golden))
    return golden, model


def record_rates(model):
    """Mean output per neuron, in the authors' names, filled in by the next call."""
    rates, names = {}, model.official_names()
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            key = names.theirs(name)
            module.register_forward_hook(lambda _m, _i, out, key=key: rates.__setitem__(key, out.mean().item()))
    return rates


def expect(actual, expected, what, scale=None):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    bound = REL * (expected.abs().max().item() if scale is None else scale)
    torch.testing.assert_close(actual.detach().double(), expected, rtol=REL, atol=bound, msg=lambda m: f"{what}: {m}")


def expect_rates(rates, golden_rates):
    called = {name: value for name, value in golden_rates.items() if value is not None}
    assert rates.keys() == called.keys()
    for name, value in called.items():  # in call order: the first difference is where to look
        assert rates[name] == pytest.approx(value, rel=REL, abs=1e-15), name


def test_the_rule_makes_the_recorded_weights():
    golden = rule.load("sdtv1_cifar10_2_256.json")
    weights = rule.weights(golden)
    for key, probe in golden["weights_probe"].items():
        assert weights[key].sum().item() == pytest.approx(probe["sum"], rel=1e-12)
        assert weights[key].flatten()[:4].tolist() == probe["first4"]
    assert rule.inputs(golden).sum().item() == pytest.approx(golden["input_probe"]["sum"], rel=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_parameters_and_names(name):
    golden, model = build(name)
    assert sum(p.numel() for p in model.parameters()) == golden["params"]
    theirs = official_state_dict(model)
    assert {key: list(value.shape) for key, value in theirs.items()} == {
        k: shape for k, shape, _ in golden["state_dict"]
    }
    for key, value in rule.weights(golden).items():
        assert torch.equal(theirs[key], value), key


@pytest.mark.parametrize("name", SOME_SLOW)
def test_evaluation(name):
    golden, model = build(name)
    rates = record_rates(model.eval())
    with torch.no_grad():
        logits = model(rule.inputs(golden))
    expect_rates(rates, golden["eval"]["firing"])
    expect(logits, golden["eval"]["logits"], "logits")


@pytest.mark.parametrize("name", SOME_SLOW)
def test_training(name):
    golden, model = build(name)
    expected = golden["train"]
    rates = record_rates(model.train())
    logits = model(rule.inputs(golden))
    if "firing" in expected:
        expect_rates(rates, expected["firing"])
    expect(logits, expected["logits"], "logits")
    averaged = logits.mean(0) if logits.ndim == 3 else logits
    loss = F.cross_entropy(averaged, torch.tensor(golden["labels"]))
    expect(loss, expected["loss"], "loss")
    expect_batch_statistics(model, expected)
    if expected.get("grad_l2"):
        loss.backward()
        expect_gradients(model, expected["grad_l2"])


def expect_batch_statistics(model, expected):
    state = official_state_dict(model)
    for field in ("running_mean_l2", "running_var_l2"):
        for key, value in expected.get(field, {}).items():
            assert state[key].norm().item() == pytest.approx(value, rel=REL), key


def expect_gradients(model, grad_l2):
    names = model.official_names()
    grads = {names.theirs(key): p.grad for key, p in model.named_parameters()}
    assert grads.keys() == grad_l2.keys()
    largest = max(value for value in grad_l2.values() if value is not None)
    for key, value in grad_l2.items():
        assert (grads[key] is None) == (value is None), key
        if value is not None:
            assert grads[key].norm().item() == pytest.approx(value, rel=REL, abs=REL * largest), key
