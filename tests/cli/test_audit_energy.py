"""The audit and energy commands: on names with random weights, on a checkpoint, on a run."""

import json
import typing
from pathlib import Path

import pytest
import safetensors.torch

from spikedriven import create_model
from spikedriven.cli import main
from spikedriven.cli.energy import Arguments
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.neurons import Neuron
from tests.built import build_run

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
    assert [row["module"] for row in failed["rows"] if row["verdict"] == "multiplies reals"] == [
        "head"
    ]


def test_audit_brief_leaves_only_rows_to_act_on(capsys):
    shown = output(
        ["audit", "spikingformer_2_384_cifar", "--brief", "--img-size", "16"], capsys, status=1
    )
    assert (
        "stem.0.conv " in shown and "folds into the threshold of blocks.0.attn.out.neuron" in shown
    )
    assert ".bn" not in shown and "addition only" not in shown.split("class", 1)[1]


def test_audit_of_the_folded_forms(capsys):
    words = ["audit", "spikingformer_2_384_cifar", "--img-size", "16", "--json", "--form"]
    folded, expanded = (
        json.loads(output([*words, form], capsys, status=1)) for form in ("folded", "expanded")
    )
    for found in (folded, expanded):
        assert {row["op"] for row in found["rows"]} == {"conv", "matmul", "linear"}


def test_energy_of_random_weights_says_so(capsys):
    shown = output(["energy", SDT, "--img-size", "16", "--images", "2"], capsys)
    assert shown.startswith("NO VERDICT: RANDOM WEIGHTS AND RANDOM INPUT (2 samples")
    assert "convention sdt:" in shown and "network released" in shown
    assert "WARNING" not in shown  # batch norms were set so that neurons fire
    assert "pays" not in shown and "NOT pay" not in shown


def test_energy_side_by_side(capsys):
    words = ["energy", SDT, "--img-size", "16", "--images", "2", "--convention", "all"]
    shown = output(words, capsys)
    for name in CONVENTIONS:
        assert f"\n {name} " in shown and f"\n{name}: " in shown
    assert shown.count("no verdict") == len(CONVENTIONS) and "T = 4" in shown
    words += ["--technology", "int8", "--memory.weight-bits", "4"]
    reports = json.loads(output([*words, "--json"], capsys))["reports"]
    assert [r["convention"]["name"] for r in reports] == list(CONVENTIONS)
    assert all(r["technology"]["mac_pj"] == 0.23 for r in reports)
    assert {r["memory"]["weight_bits"] for r in reports if r["memory"]} == {4}


def test_the_option_names_every_convention():
    choices = typing.get_args(typing.get_type_hints(Arguments)["convention"])
    assert choices == (*CONVENTIONS, "all")


def test_a_verdict_where_there_are_grounds(run, capsys):
    words = ["energy", str(run), "--images", "2", "--convention", "all", "--form", "folded"]
    shown = output(words, capsys)
    assert "NO VERDICT" not in shown and "network folded" in shown and "spikes per image" in shown
    assert "against fp32" in shown and "no more than the ANN's layer in" in shown


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_figure_is_written(ending, run, tmp_path, capsys):
    path = tmp_path / f"energy.{ending}"
    words = [
        "energy",
        str(run),
        "--images",
        "2",
        "--convention",
        "bit-matched",
        "--figure",
        str(path),
    ]
    assert f"figure written to {path}" in output(words, capsys)
    start = path.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<svg" in path.read_bytes()
    assert main([*words[:-1], str(tmp_path / "energy.txt")]) == 2
    assert "must end in .png, .svg, .pdf" in capsys.readouterr().err


def test_energy_from_given_rates(tmp_path, capsys):
    rates = tmp_path / "rates.json"
    words = [
        "energy",
        "sdt_2_256_cifar",
        "--img-size",
        "16",
        "--time-steps",
        "1",
        "--rates",
        str(rates),
        "--json",
    ]
    model = create_model("sdt_2_256_cifar", img_size=16, time_steps=1)
    neurons = {name: 0.1 for name, module in model.named_modules() if isinstance(module, Neuron)}
    rates.write_text(json.dumps({"neurons": neurons, "network": SDT}))
    assert main(words) == 2  # behind a pool and behind a mask the rate is another one
    assert "were not given, for stem.3.project.conv, blocks.0.attn.out" in capsys.readouterr().err
    layers = {"stem.3.project.conv": 0.2} | {f"blocks.{i}.attn.out.conv": 0.05 for i in (0, 1)}
    rates.write_text(json.dumps({"neurons": neurons, "layers": layers, "network": SDT}))
    (report,) = json.loads(output(words, capsys))["reports"]
    assert report["images"] == 0 and report["total_mj"] > 0
    assert {row["rate"] for row in report["layers"]} == {None, 0.1, 0.2, 0.05}
    assert main([*words, "--data", "fashion-mini"]) == 2
    assert "leave out --data" in capsys.readouterr().err
    assert main(["energy", "sdt_2_512_cifar", "--rates", str(rates)]) == 2
    assert f"rates of {SDT}, not of sdt_2_512_cifar" in capsys.readouterr().err


def test_published_rates_are_named(capsys):
    assert main(["energy", SDT, "--rates", "published"]) == 2
    assert "they were for spikingformer_8_512" in capsys.readouterr().err


def test_memory_goes_with_conventions_that_count_it(capsys):
    words = ["energy", SDT, "--img-size", "16", "--images", "2", "--memory.zeros", "0.5"]
    assert main(words) == 2
    assert "convention sdt counts no memory traffic" in capsys.readouterr().err


def test_audit_says_that_no_weights_were_read(capsys):
    assert output(["audit", SDT, "--brief", "--img-size", "16"], capsys).startswith(
        "NO TRAINED WEIGHTS"
    )


def test_energy_on_images_counts_them(capsys):
    words = [
        "energy",
        SDT,
        "--data",
        "fashion-mini",
        "--images",
        "5",
        "--batch-size",
        "4",
        "--img-size",
        "16",
    ]
    found = json.loads(output([*words, "--json"], capsys))
    assert found["reports"][0]["images"] == 5
    assert found["reports"][0]["doubts"][0].startswith("RANDOM WEIGHTS, batch norms")
    assert found["data"] == "fashion-mini"


def test_energy_with_a_checkpoint_does_not_touch_its_weights(tmp_path, capsys):
    model = create_model(SDT, img_size=16)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    words = ["energy", SDT, "--checkpoint", str(tmp_path / "weights.safetensors")]
    words += ["--img-size", "16", "--images", "2", "--time-steps", "4"]
    shown = output(words, capsys)
    assert "RANDOM INPUT: 2 samples" in shown and "RANDOM WEIGHTS" not in shown
    assert "WARNING" in shown  # initial batch norms: silent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("energy") / "run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "5"]) == 0
    return build_run(folder)


def test_a_run_is_measured_on_its_own_images(run, capsys):
    found = json.loads(
        output(["energy", str(run), "--images", "3", "--split", "train", "--json"], capsys)
    )
    assert found["data"] and found["reports"][0]["images"] == 3
    assert found["reports"][0]["doubts"] == []
    assert main(["audit", str(run), "--brief"]) in (0, 1)
    assert main(["audit", str(run), "--img-size", "16"]) == 2
    assert "go with a model name" in capsys.readouterr().err
