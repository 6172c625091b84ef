"""Authors' checkpoint files: every container they used, older names, and what must be refused."""

import argparse
import pickle
import re
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.errors import CheckpointError
from spikedriven.models import official_state_dict
from tests.networks import blank_model, enliven

SDT = {"embed_dim": 32, "depth": 1, "num_heads": 4, "num_classes": 5}


def network(name="sdt_2_256_cifar", **keywords):
    return sd.create_model(name, **{**SDT, **keywords})


@pytest.fixture(scope="module")
def weights():
    return official_state_dict(enliven(network(), seed=3))


def as_timm_saver(weights):
    return {
        "epoch": 309,
        "arch": "sdt",
        "state_dict": weights,
        "optimizer": {"param_groups": []},
        "version": 2,
        "args": argparse.Namespace(lr=1e-3, model="sdt", T=4),
        "metric": np.float64(77.1),
    }


CONTAINERS = {
    "bare": lambda w: w,
    "timm saver": as_timm_saver,
    "model": lambda w: {
        "model": w,
        "epoch": 3,
        "max_test_acc1": 81.3,
        "args": argparse.Namespace(T=16),
    },
    "data parallel": lambda w: {"state_dict": {f"module.{key}": value for key, value in w.items()}},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_read_and_loads_the_same_weights(container, weights, tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(CONTAINERS[container](weights), path)
    model = network()
    report = sd.load_official(model, path)
    assert report.spelling == "authors"
    assert sorted(report.loaded) == sorted(weights)
    for key, value in official_state_dict(model).items():
        assert torch.equal(value, weights[key])


@pytest.mark.parametrize(
    "module", [b"numpy.core.multiarray", b"numpy._core.multiarray"], ids=["numpy1", "numpy2"]
)
def test_a_number_that_either_numpy_wrote(module, weights, tmp_path):
    here, there = tmp_path / "here.pth", tmp_path / "there.pth"
    torch.save(as_timm_saver(weights), here)
    with zipfile.ZipFile(here) as source, zipfile.ZipFile(there, "w") as target:
        for name in source.namelist():
            renamed, found = re.subn(rb"numpy\._?core\.multiarray", module, source.read(name))
            assert name.endswith("data.pkl") == bool(found)
            target.writestr(name, renamed)
    assert len(sd.load_official(network(), there).loaded) == len(weights)


def test_safetensors_in_the_authors_names(weights, tmp_path):
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in weights.items()}, tmp_path / "w.safetensors"
    )
    assert len(sd.load_official(network(), tmp_path / "w.safetensors").loaded) == len(weights)


def older_spelling(key):
    """Names behind the logged 8-512 run of Spikingformer: proj_conv1..3, rpe_conv, fc1/fc2."""
    for unit in "123":
        for part in ("conv", "bn"):
            key = key.replace(f"patch_embed.proj{unit}_{part}", f"patch_embed.proj_{part}{unit}")
    key = key.replace("patch_embed.proj4_", "patch_embed.rpe_")
    return key.replace("mlp.mlp1_", "mlp.fc1_").replace("mlp.mlp2_", "mlp.fc2_")


def test_older_spikingformer_names():
    source = enliven(network("spikingformer_8_512"), seed=4)
    old = {older_spelling(key): value for key, value in official_state_dict(source).items()}
    assert "patch_embed.proj_conv3.weight" in old
    assert "block.0.mlp.fc1_conv.weight" in old
    model = network("spikingformer_8_512")
    sd.load_official(model, old)
    for key, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


def test_conv1d_weights_keep_the_release_shape():
    state = official_state_dict(network("spikingformer_8_512"))
    assert state["block.0.attn.q_conv.weight"].shape == (32, 32, 1)
    assert state["block.0.mlp.mlp1_conv.weight"].ndim == 4


def test_one_error_lists_missing_unexpected_and_misshapen_keys_and_nothing_changes(weights):
    wrong = dict(weights)
    del wrong["block.0.attn.q_conv.weight"]
    wrong["block.7.attn.q_conv.weight"] = torch.zeros(32, 32, 1, 1)
    wrong["head.weight"] = torch.zeros(1000, 32)
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        sd.load_official(model, wrong)
    message = str(caught.value)
    assert "1 missing:\n  block.0.attn.q_conv.weight" in message
    assert "1 unexpected:\n  block.7.attn.q_conv.weight" in message
    assert "1 misshapen:\n  head.weight: expected [5, 32], found [1000, 32]" in message
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_not_strict_loads_what_fits_and_says_what_did_not(weights):
    wrong = {**weights, "head.weight": torch.zeros(1000, 32)}
    report = sd.load_official(network(), wrong, strict=False)
    assert report.misshapen == ["head.weight: expected [5, 32], found [1000, 32]"]
    assert len(report.loaded) == len(weights) - 1
    assert "1 misshapen" in str(report)


def test_values_that_are_not_finite_are_refused(weights):
    with pytest.raises(CheckpointError, match=r"NaN or infinite values in head\.bias"):
        sd.load_official(network(), {**weights, "head.bias": torch.full((5,), torch.nan)})


class Hostile:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('pwned').touch()",))


def test_a_file_that_would_run_code_is_refused(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": weights, "args": Hostile()}, "evil.pth")
    with pytest.raises(CheckpointError, match="was refused"):
        sd.load_official(network(), "evil.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError):
        sd.load_official(network(), tmp_path / "plain.pkl")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000, -100])
def test_truncated_files(keep, weights, tmp_path):
    torch.save(weights, tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        sd.load_official(network(), tmp_path / "cut.pth")


def test_other_contents(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint file"):
        sd.load_official(network(), tmp_path / "absent.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        sd.load_official(network(), tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="is no state dict"):
        sd.load_official(network(), {"epoch": 3})


def test_without_released_params_the_checkpoint_has_unexpected_keys(weights):
    with pytest.raises(CheckpointError, match=r"talking_heads\.weight"):
        sd.load_official(network(released_params=False), weights)
    slim = network(released_params=False)
    report = sd.load_official(slim, weights, strict=False)
    assert report.unexpected == ["block.0.attn.talking_heads.weight"]
    assert not report.missing


def test_plif_time_constants_are_loaded():
    source = enliven(network(neuron="plif"), seed=5)
    state = official_state_dict(source)
    assert {"patch_embed.rpe_lif.w", "block.0.attn.attn_lif.w", "head_lif.w"} <= state.keys()
    model = blank_model("sdt_2_256_cifar", neuron="plif", **SDT).float()
    sd.load_official(model, state)
    assert torch.equal(model.head_neuron.w, source.head_neuron.w)
