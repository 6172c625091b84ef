"""The export command."""

import json

import nir
import onnx
import pytest
import safetensors.torch

import spikedriven as sd
from spikedriven.cli import export, main
from spikedriven.export.onnx import ONNXReport
from tests.built import build_weights

SDT = ["sdt_2_256_cifar", "--img-size", "16", "--time-steps", "1", "--images", "2"]


@pytest.fixture
def built(tmp_path):
    """Weights for SDT with which no spike lies within rounding of a threshold."""
    model = build_weights(sd.create_model(SDT[0], img_size=16, time_steps=1))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "built.safetensors")
    return ["--checkpoint", str(tmp_path / "built.safetensors")]


def test_onnx(built, tmp_path, capsys):
    path = tmp_path / "sdt.onnx"
    assert main(["export", SDT[0], str(tmp_path / "random.onnx"), *SDT[1:]]) == 0
    shown = capsys.readouterr().out
    assert "same top-1" in shown and "RANDOM WEIGHTS" in shown
    assert main(["export", SDT[0], str(path), *SDT[1:], *built]) == 0
    shown = capsys.readouterr().out
    assert "same top-1 100.0%" in shown and "RANDOM WEIGHTS" not in shown
    onnx.checker.check_model(onnx.load(path))
    assert main(["export", SDT[0], str(path), *SDT[1:]]) == 2
    assert "give --force to overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("trained", [True, False])
def test_another_rank_is_a_fault_of_trained_networks_only(
    trained, built, tmp_path, monkeypatch, capsys
):
    def written(_model, _batch, path):
        path.write_bytes(b"")
        return ONNXReport(path, 1, 20, 5, same_top1=0.8, largest_difference=0.1, largest_output=0.2)

    monkeypatch.setattr(export, "export_onnx", written)
    words = ["export", SDT[0], str(tmp_path / "sdt.onnx"), *SDT[1:], *(built if trained else [])]
    assert main(words) == int(trained)
    assert "same top-1 80.0%" in capsys.readouterr().out


def test_nir(built, tmp_path, capsys):
    path = tmp_path / "sdt.nir"
    assert main(["export", SDT[0], str(path), *SDT[1:], *built, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_spikes"] == 1.0 and found["trained"] is True
    assert {item["op"] for item in found["left_out"]} == {"maxpool", "multiply", "sum", "mean"}
    assert len(nir.read(path).nodes) == found["nodes"]


def test_another_suffix_is_refused(tmp_path, capsys):
    assert main(["export", SDT[0], str(tmp_path / "sdt.pt")]) == 2
    assert "must end in .onnx or .nir" in capsys.readouterr().err
