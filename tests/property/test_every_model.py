"""Properties that hold for every registered network, in float64; at full width as slow tests."""

import copy

import pytest
import safetensors.torch
import timm
import torch

import spikedriven as sd
from spikedriven.models import official_state_dict
from spikedriven.neurons import Neuron
from tests.networks import blank_model, classifiers, live_input, live_model, shrunk

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


NETWORKS = [
    pytest.param((name, keywords), id=f"{name}-{label}", marks=marks)
    for name in classifiers()
    for label, keywords, marks in (("shrunk", shrunk(name), ()), ("full", {}, pytest.mark.slow))
]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """(function that builds it, live network)"""
    name, keywords = request.param

    def build(function=blank_model, **more):
        return function(name, time_steps=2, **keywords, **more)

    return build, build(live_model)


@pytest.fixture(scope="module")
def called(network):
    """(model, input, output), computed once."""
    _, model = network
    x = live_input(model)
    with torch.no_grad():
        return model, x, model(x)


def test_spikes_reach_the_last_block(called):
    model, x, _ = called
    rates = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: rates.append(out.mean().item()))
        for m in model.modules()
        if isinstance(m, Neuron)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    assert len(rates) > 10
    assert sum(rate > 0 for rate in rates) > 0.9 * len(rates)
    assert max(rates) <= 4.0


def test_same_image_other_neighbours_same_logits(called):
    model, x, together = called
    others = torch.cat([live_input(model, batch=1, seed=9), x[:1]])
    with torch.no_grad():
        assert_batch_close(model(others), together, 1, 0)
        assert_batch_close(model(x[1:]), together, 0, 1)


def assert_batch_close(ours, theirs, i, j):
    torch.testing.assert_close(ours.select(-2, i), theirs.select(-2, j), **CLOSE)


def test_one_step_at_a_time_equals_all_steps_at_once(called):
    model, x, together = called
    frames = x.transpose(0, 1) if x.ndim == 5 else [x] * model.time_steps
    state, steps = None, []
    with torch.no_grad():
        for frame in frames:
            logits, state = model.step(frame, state)
            steps.append(logits)
    torch.testing.assert_close(torch.stack(steps).mean(0), state.logits, **CLOSE)
    expected = together if model.output == "per_step" else together[None]
    streamed = torch.stack(steps) if model.output == "per_step" else state.logits[None]
    torch.testing.assert_close(streamed, expected, **CLOSE)


def test_every_call_starts_at_rest_and_repeats_to_the_bit(called):
    model, x, together = called
    with torch.no_grad():
        model(live_input(model, batch=3, seed=5))  # another batch, of another size, in between
        assert torch.equal(model(x), together)


def test_save_and_load_round_trip(network, called, tmp_path):
    build, _ = network
    model, x, together = called
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    again = build()
    report = sd.load_official(again, path)
    assert report.spelling == "spikedriven"
    with torch.no_grad():
        assert torch.equal(again(x), together)


def test_authors_names_round_trip(network, called):
    build, _ = network
    model, x, together = called
    again = build()
    report = sd.load_official(again, official_state_dict(model))
    assert report.spelling == "authors"
    with torch.no_grad():
        assert torch.equal(again(x), together)


def test_timm_builds_the_same_network_and_honest_feature_maps(network, called):
    build, _ = network
    model, x, _ = called
    with torch.device("meta"):
        backbone = build(timm.create_model, features_only=True)
    backbone = backbone.double().to_empty(device="cpu").eval()
    own = {f"model.{key}": value for key, value in model.state_dict().items()}
    backbone.load_state_dict({key: own[key] for key in backbone.state_dict()})
    with torch.no_grad():
        maps = backbone(x)
        last, intermediates = model.forward_intermediates(x)
    for info, ours, again in zip(model.feature_info, maps, intermediates, strict=False):
        size = -(-x.shape[-1] // info["reduction"])
        assert ours.shape == (2, info["num_chs"], size, size)
        assert torch.equal(ours, again)
    assert torch.equal(model.forward_features(x), last)
    assert last.shape[0] == model.time_steps


def test_a_copy_is_independent(called):
    model, x, together = called
    twin = copy.deepcopy(model)
    with torch.no_grad():
        assert torch.equal(twin(x), together)
