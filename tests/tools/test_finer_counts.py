"""Weights for finer neurons: the same network, but for what its neurons round."""

import copy

import finer_counts
import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.graph.calibrate import calibrate
from spikedriven.neurons import IntegerNeuron

NAME, SMALL = "e_spikeformer_fashion", {"embed_dims": (8, 16, 16, 32)}
SCALE = 2 * (32 // 4) ** -0.5  # of the attention, per head


def network(levels: int) -> torch.nn.Module:
    return (
        sd.create_model(NAME, **SMALL, levels=levels, attention_scale=SCALE * levels / 4)
        .double()
        .eval()
    )


@pytest.fixture
def coarse():
    torch.manual_seed(0)
    model = network(4)
    calibrate(model.eval(), torch.randn(8, 1, 28, 28, dtype=torch.float64))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.2)  # they grow too
    return model


@pytest.mark.parametrize("levels", [8, 12])
def test_without_rounding_nothing_changes(coarse, levels, monkeypatch):
    fine = network(levels)
    fine.load_state_dict(finer_counts.finer(copy.deepcopy(coarse), levels))
    x = torch.randn(4, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(fine(x), coarse(x), rtol=1e-3)
        monkeypatch.setattr(
            IntegerNeuron, "forward", lambda self, x: x.clamp(0, self.levels) / self.norm
        )
        smooth = coarse(x)
        torch.testing.assert_close(fine(x), smooth, rtol=1e-9, atol=1e-9)
    assert smooth.std() > 1e-3


def test_the_command_writes_what_a_recipe_starts_from(tmp_path, monkeypatch, capsys):
    run, file = tmp_path / "run", tmp_path / "1x8.safetensors"
    small = [
        "--model.args.embed_dims",
        "[8,16,16,32]",
        "--data.dataset",
        "fashion-mini",
        "--data.workers",
        "0",
    ]
    short = ["--run.max-steps", "1", "--run.batch-size", "8"]
    assert main(["train", "e_spikeformer_fashion_1x4", "--run.out", str(run), *small, *short]) == 0
    monkeypatch.setattr("sys.argv", ["finer_counts.py", str(run), "8", str(file)])
    finer_counts.main()
    assert "levels 8, attention_scale" in capsys.readouterr().out
    second = ["--run.out", str(tmp_path / "second"), "--model.init", str(file), *small, *short]
    assert main(["train", NAME, *second]) == 0
    assert safetensors.torch.load_file(file).keys() == network(8).state_dict().keys()
