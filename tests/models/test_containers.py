"""Wrappers that people save weights in are recognised, named, and load the same weights; two of one
are refused."""

import argparse

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

import spikedriven as sd
from spikedriven.errors import CheckpointError
from spikedriven.models import official_state_dict
from spikedriven.models.containers import read_packed
from tests.networks import enliven

SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 4, "num_classes": 5}


def network(seed=None):
    model = sd.create_model("sdt_2_256_cifar", **SMALL)
    return model if seed is None else enliven(model, seed)


@pytest.fixture(scope="module")
def trained():
    return network(seed=3)


@pytest.fixture(scope="module")
def raw(trained):
    return official_state_dict(trained)


@pytest.fixture(scope="module")
def averaged():
    return official_state_dict(network(seed=4))


def before(prefix, weights):
    return {f"{prefix}{key}": value for key, value in weights.items()}


def inside(part, weights):
    """As a wrapper around each block writes: block.0.attn.x -> block.0._orig_mod.attn.x."""
    return {key.replace("block.0.", f"block.0.{part}"): value for key, value in weights.items()}


LIGHTNING = {
    "epoch": 3,
    "global_step": 9,
    "pytorch-lightning_version": "2.5.0",
    "callbacks": {},
    "optimizer_states": [],
}
TIMM = {
    "epoch": 309,
    "arch": "sdt",
    "optimizer": {"param_groups": []},
    "version": 2,
    "metric": np.float64(77.1),
}

#: What is saved -> what the report names.
WRAPPERS = {
    "bare": (lambda w: w, []),
    "timm": (lambda w: {**TIMM, "state_dict": w, "args": argparse.Namespace(T=4)}, ["timm"]),
    "model entry": (lambda w: {"model": w, "epoch": 3, "max_test_acc1": np.float32(81.3)}, []),
    "DataParallel": (
        lambda w: {"state_dict": before("module.", w)},
        ["prefix module. (DataParallel"],
    ),
    "torch.compile": (lambda w: before("_orig_mod.", w), ["prefix _orig_mod. (torch.compile)"]),
    "compiled blocks": (lambda w: inside("_orig_mod.", w), ["prefix _orig_mod. (torch.compile)"]),
    "FSDP": (lambda w: inside("_fsdp_wrapped_module.", w), ["prefix _fsdp_wrapped_module. (FSDP)"]),
    "recomputed": (
        lambda w: inside("_checkpoint_wrapped_module.", w),
        ["(activation checkpointing)"],
    ),
    "Lightning": (
        lambda w: {**LIGHTNING, "state_dict": before("model.", w)},
        ["Lightning", "prefix model."],
    ),
    "Lightning net": (
        lambda w: {**LIGHTNING, "state_dict": before("net.", w)},
        ["Lightning", "prefix net."],
    ),
    "Lightning compiled": (
        lambda w: {**LIGHTNING, "state_dict": before("model._orig_mod.", w)},
        ["Lightning", "prefix model.", "prefix _orig_mod."],
    ),
    "Hugging Face": (lambda w: before("timm_model.", w), ["prefix timm_model. (Hugging Face)"]),
    "DeepSpeed": (
        lambda w: {"module": before("module.", w), "ds_version": "0.14", "dp_world_size": 8},
        ["DeepSpeed"],
    ),
    "MMEngine": (
        lambda w: {"meta": {"mmengine_version": "0.10"}, "state_dict": w, "message_hub": {}},
        ["MMEngine"],
    ),
    "three deep": (
        lambda w: {"model": {"state_dict": before("module.model.", w), "epoch": 2}, "step": 7},
        ["prefix module.", "prefix model."],
    ),
}


def loaded(model):
    return official_state_dict(model)


def same(weights, expected):
    return all(torch.equal(weights[key], value) for key, value in expected.items()) and len(
        weights
    ) == len(expected)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_named_and_load_the_same_weights(wrapper, raw, tmp_path):
    pack, names = WRAPPERS[wrapper]
    torch.save(pack(raw), tmp_path / "w.pth.tar")
    model = network()
    report = sd.load_official(model, tmp_path / "w.pth.tar")
    assert same(loaded(model), raw) and report.spelling == "authors"
    assert len(report.wrappers) == len(names) + (wrapper == "DeepSpeed")
    assert all(name in str(report) for name in names)
    assert report.weights is None and "taken" not in str(report)


def test_what_the_wrappers_themselves_write(trained, raw):
    for wrapped in (DataParallel(trained), torch.compile(trained), AveragedModel(trained)):
        model = network()
        report = sd.load_official(model, wrapped.state_dict())
        assert same(loaded(model), raw) and report.spelling == "spikedriven" and report.wrappers


def test_prefixes_in_safetensors(raw, tmp_path):
    for name in ("w.safetensors", "pytorch_model.bin"):  # recognised by what is in it
        safetensors.torch.save_file(before("model.", raw), tmp_path / name)
        model = network()
        assert sd.load_official(model, tmp_path / name).wrappers == (
            "prefix model. (Lightning or Hugging Face)",
        )
        assert same(loaded(model), raw)


#: Files that hold both, and how.
BOTH = {
    "timm": lambda w, a: {**TIMM, "state_dict": w, "state_dict_ema": a},
    "model_ema": lambda w, a: {"model": w, "model_ema": before("module.", a)},
    "ema": lambda w, a: {"model": w, "ema": a},
    "nested": lambda w, a: {"model": {"state_dict": w, "state_dict_ema": a}},
    "one dictionary": lambda w, a: {
        "state_dict": before("model.", w) | before("ema_model.module.", a)
    },
    "MMEngine": lambda w, a: {
        "meta": {"mmengine_version": "0.10"},
        "state_dict": a,
        "ema_state_dict": {"steps": torch.tensor(9), **before("module.", w)},
    },
}


@pytest.mark.parametrize("file", BOTH)
def test_of_raw_and_averaged_weights_the_wanted_ones_are_taken(file, raw, averaged, tmp_path):
    torch.save(BOTH[file](raw, averaged), tmp_path / "w.pth")
    for weights, expected, kind in (
        ("auto", raw, "trained"),
        ("trained", raw, "trained"),
        ("averaged", averaged, "averaged"),
    ):
        model = network()
        report = sd.load_official(model, tmp_path / "w.pth", weights=weights)
        assert same(loaded(model), expected) and (report.weights, report.both) == (kind, True)
        other = {"trained": "averaged", "averaged": "trained"}[kind]
        assert (
            "taken: " in str(report)
            and "the file holds" in str(report)
            and f"weights={other!r}" in str(report)
        )


def test_a_file_with_one_kind_of_weights(raw, averaged):
    for only_averaged in (
        {"state_dict_ema": averaged},
        before("ema.", averaged),
        {"ema": averaged, "epoch": 1},
    ):
        model = network()
        report = sd.load_official(model, only_averaged)
        assert same(loaded(model), averaged) and (report.weights, report.both) == (
            "averaged",
            False,
        )
        assert "taken: averaged weights (EMA); the file holds no others" in str(report)
        with pytest.raises(CheckpointError, match="holds only averaged weights"):
            sd.load_official(model, only_averaged, weights="trained")
    with pytest.raises(CheckpointError, match="no averaged weights"):
        sd.load_official(network(), {"state_dict": raw}, weights="averaged")
    with pytest.raises(CheckpointError, match="holds only averaged weights"):
        sd.load_official(network(), AveragedModel(network()).state_dict(), weights="trained")


@pytest.mark.parametrize("strict", [True, False])
def test_two_keys_that_become_one_are_refused(strict, raw):
    key = "head.weight"
    for twice in (
        {**raw, f"module.{key}": raw[key] * 7},
        before("model.", raw) | {f"net.{key}": raw[key]},
    ):
        with pytest.raises(CheckpointError, match=r"'head\.weight' twice: as .* and as "):
            sd.load_official(network(), twice, strict=strict)


def test_an_older_and_a_newer_name_of_one_weight_are_refused():
    model = sd.create_model("spikingformer_8_512", **SMALL)
    weights = official_state_dict(model)
    both = {**weights, "block.0.mlp.fc1_conv.weight": weights["block.0.mlp.mlp1_conv.weight"]}
    with pytest.raises(
        CheckpointError,
        match=r"mlp1_conv\.weight and .*fc1_conv\.weight: an older and a newer name",
    ):
        sd.load_official(model, both)


def test_what_a_lightning_module_holds_besides_is_named(raw):
    content = {
        **LIGHTNING,
        "state_dict": before("model.", raw) | {"criterion.weight": torch.ones(5)},
    }
    with pytest.raises(CheckpointError, match=r"1 unexpected:\n  criterion\.weight\n"):
        sd.load_official(network(), content)
    report = sd.load_official(network(), content, strict=False)
    assert report.unexpected == ["criterion.weight"] and len(report.loaded) == len(raw)


def test_two_sets_of_weights_are_not_chosen_from(raw, averaged):
    with pytest.raises(CheckpointError, match="more than one set of weights: 'model', 'net'"):
        sd.load_official(network(), {"model": raw, "net": averaged})
    assert sd.load_official(
        network(), {"state_dict": raw, "model": {"name": "sdt", "depth": 8}}
    ).loaded


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "found 0 tensors and the other entries"),
        ({"epoch": 3}, r"other entries \['epoch'\]"),
        ({"a": torch.ones(1), "epoch": 3}, r"found 1 tensors and the other entries \['epoch'\]"),
        ({"weights": {"a": torch.ones(1)}}, r"other entries \['weights'\]"),
        ({0: torch.ones(1), "a": torch.ones(1)}, r"1 of its 2 keys are no text \(int\)"),
        (
            {"model": {b"a": torch.ones(1), ("b", 1): torch.ones(1)}},
            r"2 of its 2 keys are no text \(bytes, tuple\)",
        ),
        ({"model": nn.Linear(2, 2)}, r"other entries \['model'\]"),
    ],
)
def test_what_is_no_state_dict(content, message):
    with pytest.raises(CheckpointError, match=f"is no state dict: .*{message}"):
        read_packed(content)


def test_a_dictionary_that_holds_itself():
    content = {"epoch": 1}
    content["model"] = content
    with pytest.raises(CheckpointError, match="is no state dict"):
        read_packed(content)
    content["weight"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="is no state dict"):
        read_packed(content)
