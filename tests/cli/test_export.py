"""The export command."""

import json

import nir
import onnx

from spikedriven.cli import main

SDT = ["sdt_2_256_cifar", "--img-size", "16", "--time-steps", "1", "--images", "2"]


def test_onnx(tmp_path, capsys):
    path = tmp_path / "sdt.onnx"
    assert main(["export", SDT[0], str(path), *SDT[1:]]) == 0
    assert "same top-1 100.0%" in (shown := capsys.readouterr().out) and "RANDOM WEIGHTS" in shown
    onnx.checker.check_model(onnx.load(path))
    assert main(["export", SDT[0], str(path), *SDT[1:]]) == 2
    assert "give --force to overwrite" in capsys.readouterr().err


def test_nir(tmp_path, capsys):
    path = tmp_path / "sdt.nir"
    assert main(["export", SDT[0], str(path), *SDT[1:], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_spikes"] == 1.0 and found["trained"] is False
    assert {item["op"] for item in found["left_out"]} == {"maxpool", "multiply", "sum", "mean"}
    assert len(nir.read(path, type_check=False).nodes) == found["nodes"]


def test_another_suffix_is_refused(tmp_path, capsys):
    assert main(["export", SDT[0], str(tmp_path / "sdt.pt")]) == 2
    assert "must end in .onnx or .nir" in capsys.readouterr().err
