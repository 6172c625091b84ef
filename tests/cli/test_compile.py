"""The compile command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.graph.calibrate import calibrate
from spikedriven.runs.target import random_batch

SMALL = ["sdt_2_256_cifar", "--img-size", "32", "--time-steps", "2", "--images", "3"]


def test_the_file_computes_what_the_network_computes(tmp_path, capsys):
    path = tmp_path / "sdt.sdp"
    torch.manual_seed(0)
    assert main(["compile", *SMALL, "--out", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    torch.manual_seed(0)
    model = sd.create_model(SMALL[0], img_size=32, time_steps=2).eval()
    batch = random_batch(model, 3)
    calibrate(model.eval(), batch)
    program = sd.load_program(path)
    with torch.no_grad():
        expected, computed = model(batch), program(batch)
    differences = [float((a - b).abs().max()) for a, b in zip(expected, computed, strict=True)]
    assert found["largest_difference"] == pytest.approx(max(differences)) and found["checked"] == 3
    assert found["largest_output"] == pytest.approx(float(expected.abs().max()))
    assert found["within_rounding"] == pytest.approx(
        np.mean(np.array(differences) < 1e-3 * found["largest_output"])
    )
    assert found["same_top1"] == pytest.approx(
        np.mean((expected.argmax(1) == computed.argmax(1)).numpy())
    )
    spikes = [value for m, value in program.maps(batch[:1]) if m.kind == "spikes"]
    assert found["density"] == np.mean(np.concatenate([value.flatten() for value in spikes]) > 0)
    assert found["bytes"] == path.stat().st_size and found["trained"] is False
    assert sum(found["operations"].values()) == len(program.plan.operations)
    assert found["operations"]["MaskedAttention"] == 2


def test_text_pictures_and_overwriting(tmp_path, capsys):
    path, picture = tmp_path / "sdt.sdp", tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
        picture
    )
    command = ["compile", *SMALL, "--out", str(path)]
    assert main([*command, "--image", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert (
        "on 1 inputs (the pictures given)" in shown
        and "same top-1" in shown
        and "RANDOM WEIGHTS" in shown
    )
    before = path.read_bytes()
    assert main(command) == 2 and path.read_bytes() == before
    assert "give --force to overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_masked_pretraining_has_no_classes(tmp_path, capsys):
    path = str(tmp_path / "mae.sdp")
    assert (
        main(
            [
                "compile",
                "spike_mae_12_512",
                "--img-size",
                "32",
                "--images",
                "1",
                "--out",
                path,
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["same_top1"] is None and found["operations"]["LinearAttention"] == 12


def test_refused(tmp_path, capsys):
    path = str(tmp_path / "x.sdp")
    assert main(["compile", *SMALL[:-1], "0", "--out", path]) == 2
    assert "at least 1" in capsys.readouterr().err
    assert main(["compile", *SMALL, "--out", str(tmp_path / "missing" / "x.sdp")]) == 2
    assert "name another file" in capsys.readouterr().err
