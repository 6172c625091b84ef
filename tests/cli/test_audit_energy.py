"""The audit and energy commands: on names with random weights, on a checkpoint, on a run."""

import json
from pathlib import Path

import pytest
import safetensors.torch

from spikedriven import create_model
from spikedriven.cli import main

TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")
SDT = "sdt_2_256_cifar"


def output(words, capsys, status=0):
    assert main(words) == status
    return capsys.readouterr().out


def test_audit_exit_status_says_whether_the_network_passes(capsys):
    passed = json.loads(output(["audit", SDT, "--json"], capsys))
    assert passed["ok"] and passed["ok_as_released"]
    failed = json.loads(output(["audit", "spikingformer_2_384_cifar", "--json"], capsys, status=1))
    assert not failed["ok"]
    assert [row["module"] for row in failed["rows"] if row["verdict"] == "multiplies reals"] == ["head"]


def test_audit_brief_leaves_only_rows_to_act_on(capsys):
    shown = output(["audit", "spikingformer_2_384_cifar", "--brief", "--img-size", "16"], capsys, status=1)
    assert "stem.0.conv " in shown and "folds into the threshold of blocks.0.attn.out.neuron" in shown
    assert ".bn" not in shown and "addition only" not in shown.split("class", 1)[1]


def test_audit_of_the_folded_forms(capsys):
    words = ["audit", "spikingformer_2_384_cifar", "--img-size", "16", "--json", "--form"]
    folded, expanded = (json.loads(output([*words, form], capsys, status=1)) for form in ("folded", "expanded"))
    for found in (folded, expanded):
        assert {row["op"] for row in found["rows"]} == {"conv", "matmul", "linear"}


def test_energy_of_random_weights_says_so(capsys):
    shown = output(["energy", SDT, "--img-size", "16", "--images", "2"], capsys)
    assert "RANDOM WEIGHTS AND RANDOM INPUT (2 samples" in shown and "convention sdt:" in shown
    assert "WARNING" not in shown  # batch norms were set so that neurons fire


def test_energy_side_by_side(capsys):
    words = ["energy", SDT, "--img-size", "16", "--images", "2", "--convention", "all", "--technology", "int8"]
    shown = output(words, capsys)
    for name in ("sdt", "spikingformer", "sfa", "all-ops"):
        assert f"\n {name} " in shown
    assert "prices int8" in shown and "T = 4" in shown
    reports = json.loads(output([*words, "--json"], capsys))["reports"]
    assert [r["convention"]["name"] for r in reports] == ["sdt", "spikingformer", "sfa", "all-ops"]
    assert all(r["technology"]["mac_pj"] == 0.23 for r in reports)


def test_energy_on_images_counts_them(capsys):
    words = ["energy", SDT, "--data", "fashion-mini", "--images", "5", "--batch-size", "4", "--img-size", "16"]
    found = json.loads(output([*words, "--json"], capsys))
    assert found["reports"][0]["images"] == 5
    assert found["notes"][0].startswith("RANDOM WEIGHTS, batch norms")


def test_energy_with_a_checkpoint_does_not_touch_its_weights(tmp_path, capsys):
    model = create_model(SDT, img_size=16)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    words = ["energy", SDT, "--checkpoint", str(tmp_path / "weights.safetensors"), "--img-size", "16", "--images", "2"]
    shown = output(words, capsys)
    assert "RANDOM INPUT: 2 samples" in shown and "RANDOM WEIGHTS" not in shown
    assert "WARNING" in shown  # initial batch norms: silent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("energy") / "run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "5"]) == 0
    return folder


def test_a_run_is_measured_on_its_own_images(run, capsys):
    found = json.loads(output(["energy", str(run), "--images", "3", "--split", "train", "--json"], capsys))
    assert found["notes"] == [] and found["reports"][0]["images"] == 3
    assert main(["audit", str(run), "--brief"]) in (0, 1)
    assert main(["audit", str(run), "--img-size", "16"]) == 2
    assert "go with a model name" in capsys.readouterr().err
