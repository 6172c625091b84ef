"""`spikedriven models` and `spikedriven convert` as a user calls them."""

import json

import pytest
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.models import official_state_dict
from tests.networks import enliven


def test_models_as_json(capsys):
    assert main(["models", "sdt_8_*", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sdt_8_512"]["parameters"] == 29_689_896
    assert rows["sdt_8_512"]["time_steps"] == 4
    assert rows["sdt_8_768"]["published"].startswith("ImageNet 77.07 %")


def test_models_table_and_no_match(capsys):
    assert main(["models", "spikingformer_2_256_dvs"]) == 0
    assert "spikingformer_2_256" in capsys.readouterr().out
    assert main(["models", "nothing*"]) == 1


def test_files_as_json_hold_what_a_figure_needs(capsys):
    assert main(["models", "sdt_8_768*", "--files", "--json"]) == 0
    rows = {row["full_name"]: row for row in json.loads(capsys.readouterr().out)}
    large = rows["sdt_8_768.in1k_288"]
    assert large["args"] == {"time_steps": 4} and large["input_size"] == [3, 288, 288]
    assert (large["crop_pct"], large["interpolation"]) == (0.9, "bilinear")
    assert large["published"].startswith("top-1 77.07 %") and large["url"].startswith(
        "https://drive.google.com/"
    )
    assert set(rows) == {"sdt_8_768.in1k", "sdt_8_768.in1k_288"}


def test_files_are_shown_whole(capsys):
    assert main(["models", "spikingformer_2_256_dvs*", "--files"]) == 0
    shown = capsys.readouterr().out
    assert (
        "spikingformer_2_256_dvs.gesture_t16\n" in shown
        and "classes as_text" in shown
        and "…" not in shown
    )
    assert "time_steps 16" in shown and "published: top-1 98.3 %" in shown
    assert main(["models", "nothing*", "--files"]) == 1


def test_convert_writes_what_every_reader_takes(tmp_path, capsys):
    source = enliven(sd.create_model("sdt_2_256_cifar", num_classes=100))
    torch.save({"state_dict": official_state_dict(source)}, tmp_path / "c100.pth.tar")
    out = tmp_path / "c100.safetensors"
    arguments = ["convert", "sdt_2_256_cifar.cifar100", str(tmp_path / "c100.pth.tar"), str(out)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "tensors loaded" in shown and "time_steps 4 (the tag sdt_2_256_cifar.cifar100)" in shown
    again = sd.create_model("sdt_2_256_cifar", num_classes=100)
    sd.load_official(again, out)
    for key, value in source.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert main(arguments) == 2  # the output exists
    assert "--force" in capsys.readouterr().err


def test_convert_names_what_contradicts_the_file(tmp_path, capsys):
    torch.save(
        official_state_dict(sd.create_model("sdt_2_256_cifar", num_classes=100)), tmp_path / "w.pth"
    )
    words = [str(tmp_path / "w.pth"), str(tmp_path / "o.safetensors"), "--num-classes", "10"]
    assert main(["convert", "sdt_2_256_cifar", *words]) == 2
    assert "num_classes 100 by its tensors, 10 by the command line" in capsys.readouterr().err
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("command", ["models", "convert"])
def test_help_shows_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"spikedriven {command}" in capsys.readouterr().out


def test_trained_or_averaged_weights_of_a_file_with_both(tmp_path, capsys):
    name, path = "e_spikeformer_fashion", tmp_path / "both.pth"
    trained, averaged = (
        official_state_dict(enliven(sd.create_model(name), seed)) for seed in (1, 2)
    )
    torch.save({"state_dict": trained, "state_dict_ema": averaged}, path)
    for option, wanted, other in (("auto", trained, "averaged"), ("averaged", averaged, "trained")):
        out = tmp_path / f"{option}.safetensors"
        command = [
            "convert",
            name,
            str(path),
            str(out),
            "--weights",
            option,
            "--model.args.levels",
            "8",
        ]
        assert main(command) == 0
        assert (
            capsys.readouterr().out.count(f"the file holds {other} ones too: weights='{other}'")
            == 1
        )
        model = sd.create_model(name, levels=8)
        sd.load_official(model, out)
        assert all(
            torch.equal(value, wanted[key]) for key, value in official_state_dict(model).items()
        )
    assert main(["audit", name, "--checkpoint", str(path), "--model.args.levels", "8"]) in (0, 1)
    assert main(["audit", name, "--weights", "averaged"]) == 2
    assert "--weights goes with a run, or with --checkpoint" in capsys.readouterr().err
