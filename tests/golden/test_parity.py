"""Every published network, in float64, against what the authors' code computes for the same
weights and inputs.
"""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

import spikedriven as sd
from spikedriven.models import official_state_dict
from spikedriven.neurons import IntegerNeuron, Neuron
from tests.golden import rule

REL = 1e-9
ALL = [name for name in rule.INDEX if (rule.FOLDER / name).exists()]
#: 224 pixels in float64, or more than 100 million parameters, take the better part of a minute
#: each.
SLOW = ("224", "_768", "mae")
SOME_SLOW = [
    pytest.param(name, marks=pytest.mark.slow) if any(word in name for word in SLOW) else name
    for name in ALL
]


@pytest.fixture(scope="module", params=SOME_SLOW)
def published(request):
    """(golden file, weights, model), made once per file: the largest take long."""
    golden, entry = rule.load(request.param), rule.INDEX[request.param]
    return (
        golden,
        rule.weights(golden),
        sd.create_model(entry["model"], **entry["keywords"]).double(),
    )


@pytest.fixture
def network(published):
    """(golden file, model with the file's weights, its batch statistics untouched)."""
    golden, weights, model = published
    sd.load_official(model, weights)
    model.zero_grad()
    return golden, model


def test_the_rule_makes_the_recorded_weights():
    golden = rule.load("sdtv1_cifar10_2_256.json")
    weights = rule.weights(golden)
    for key, probe in golden["weights_probe"].items():
        assert weights[key].sum().item() == pytest.approx(probe["sum"], rel=1e-12)
        assert weights[key].flatten()[:4].tolist() == probe["first4"]
    assert rule.inputs(golden).sum().item() == pytest.approx(
        golden["input_probe"]["sum"], rel=1e-12
    )


def test_parameters_and_names(network, published):
    golden, model = network
    assert sum(p.numel() for p in model.parameters()) == golden["params"]
    theirs = official_state_dict(model)
    assert {key: list(value.shape) for key, value in theirs.items()} == {
        k: shape for k, shape, _ in golden["state_dict"]
    }
    for key, value in published[1].items():
        assert torch.equal(theirs[key], value), key


def test_evaluation(network):
    golden, model = network
    with torch.no_grad(), recorded_rates(model.eval()) as rates:
        outputs = run(model, golden)
    expect_rates(rates, model, golden, "eval")
    expect_outputs(outputs, golden["eval"])


def test_training(network):
    golden, model = network
    expected = golden["train"]
    with recorded_rates(model.train()) as rates:
        outputs = run(model, golden)
    if "firing" in expected:
        expect_rates(rates, model, golden, "train")
    expect_outputs(outputs, expected)
    expect_batch_statistics(model, expected)
    if expected.get("grad_l2"):
        outputs["loss"].backward()
        expect_gradients(model, expected["grad_l2"])


def run(model, golden):
    """What the network computes, under the golden file's names."""
    if "mask" in golden:
        return pre_train(model, golden)
    logits = model(rule.inputs(golden))
    heads = logits if isinstance(logits, tuple) else (logits,)
    outputs = dict(zip(("logits", "logits_kd"), heads, strict=False))
    if model.training:
        outputs["loss"] = torch.stack([cross_entropy(head, golden) for head in heads]).mean()
    return outputs


def pre_train(model, golden):
    latents = []
    hook = model.decoder.register_forward_pre_hook(
        lambda _m, arguments: latents.append(arguments[0])
    )
    result = model(rule.inputs(golden), rule.mask_noise(golden))
    hook.remove()
    assert torch.equal(~result.mask, torch.tensor(golden["mask"]["active"]).bool())
    return {"loss": result.loss, "pred": result.prediction, "latent": latents[0]}


def cross_entropy(logits, golden):
    averaged = logits.mean(0) if logits.ndim == 3 else logits
    return F.cross_entropy(averaged, torch.tensor(golden["labels"]))


@contextmanager
def recorded_rates(model):
    """Mean output per neuron, in the authors' names and in call order, of the calls made inside."""
    rates, hooks, names = {}, [], model.official_names()
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            key = names.theirs(name)
            hooks.append(
                module.register_forward_hook(
                    lambda _m, _i, out, key=key: rates.__setitem__(key, out.mean().item())
                )
            )
    yield rates
    for hook in hooks:
        hook.remove()


def expect_rates(rates, model, golden, mode):
    """Mean outputs, and mean counts where the file has them. The HAR-DVS release divides behind
    its neurons.
    """
    norm = norms(model)
    counts = {key: rate * norm[key] for key, rate in rates.items()}
    expect_each(
        counts if "the caller divides" in golden["neurons"] else rates, golden[mode]["firing"]
    )
    expect_each(counts, golden[mode].get("integer_mean", counts))


def norms(model):
    """What each neuron divides its counts by, in the authors' names."""
    names = model.official_names()
    return {
        names.theirs(name): module.norm if isinstance(module, IntegerNeuron) else 1.0
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    }


def expect_each(rates, golden_rates):
    called = {name: value for name, value in golden_rates.items() if value is not None}
    assert rates.keys() == called.keys()
    for name in rates:  # in call order: the first difference is where to look
        assert rates[name] == pytest.approx(called[name], rel=REL, abs=1e-15), name


def expect_outputs(outputs, expected):
    assert outputs.keys() == expected.keys() & {"logits", "logits_kd", "loss", "pred", "latent"}
    for field, value in outputs.items():
        if isinstance(expected[field], dict):
            expect_summary(value, expected[field], field)
        else:
            expect(value, expected[field], field)
    if "pred_b1_first32" in expected:
        expect(outputs["pred"][1].flatten()[:32], expected["pred_b1_first32"], "second image")


def expect_summary(value, expected, what):
    """Some files hold shape, mean, deviation and first values of a tensor."""
    assert list(value.shape) == expected["shape"]
    found = torch.stack([value.mean(), value.std(), *value.flatten()[: len(expected["first"])]])
    expect(found, [expected["mean"], expected["std"], *expected["first"]], what)


def expect(actual, expected, what):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    bound = REL * expected.abs().max().item()
    torch.testing.assert_close(
        actual.detach().double(), expected, rtol=REL, atol=bound, msg=lambda m: f"{what}: {m}"
    )


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
