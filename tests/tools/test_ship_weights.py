"""Weights of a run, put where `create_model(..., pretrained=True)` finds them, with a card and
a figure.
"""

import json
from pathlib import Path

import safetensors.torch
import ship_weights
import torch

from spikedriven.cli import main
from spikedriven.models import pretrained
from spikedriven.runs.checkpoint import load_run

RECIPE = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"


def test_pauses_do_not_count():
    steps = [(50, 1000.0), (100, 1030.0), (150, 9000.0), (100, 9500.0), (150, 9540.0)]
    lines = [{"kind": "train", "step": step, "time": time} for step, time in steps]
    # 30 s; a pause, counted as 2 s a step; a resumed run goes back some steps, which costs nothing
    # itself; 40 s
    assert ship_weights.seconds_of_training(lines) == 30 + 100 + 0 + 40


def test_runs_that_go_on_from_each_other_are_one_log(tmp_path):
    for name, steps in (("first", [10, 20]), ("second", [10, 15])):
        (tmp_path / name).mkdir()
        lines = [
            json.dumps({"kind": "train", "step": step, "time": float(step)}) + "\n"
            for step in steps
        ]
        (tmp_path / name / "log.jsonl").write_text("".join(lines))
    found = ship_weights.lines_of([tmp_path / "first", tmp_path / "second"])
    assert [line["step"] for line in found] == [10, 20, 30, 35]


def test_a_run_becomes_weights_card_log_and_figure(tmp_path, monkeypatch, capsys):
    run, shipped = tmp_path / "run", tmp_path / "weights"
    assert main(["train", str(RECIPE), "--run.out", str(run), "--run.max-steps", "3"]) == 0
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "eval", "step": 3, "epoch": 1, "top1": 61.0}) + "\n")
    found = {"test": {"top1": 60.25, "count": 400}, "val": {"top1": 61.0, "count": 100}}
    monkeypatch.setattr(ship_weights, "accuracy", lambda run, split: found[split])
    monkeypatch.setattr(ship_weights, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(pretrained, "FOLDER", shipped)
    monkeypatch.setattr("sys.argv", ["ship_weights.py", str(run)])
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    ship_weights.main()

    weights = safetensors.torch.load_file(shipped / "sdt_2_256_cifar.safetensors")
    own = load_run(run)[0].state_dict()
    assert weights.keys() == own.keys() and all(torch.equal(weights[key], own[key]) for key in own)
    card = (shipped / "sdt_2_256_cifar.md").read_text()
    assert (
        "60.25 % top-1 on the 400 test images of fashion-mini" in card
        and "3 steps of 16 images" in card
    )
    names = (shipped / "sdt_2_256_cifar.classes.txt").read_text().splitlines()
    assert names[:2] == ["T-shirt/top", "Trouser"] and f"outputs: {', '.join(names)}." in card
    assert capsys.readouterr().out.endswith(card)
    assert (tmp_path / "docs" / "runs" / "sdt_2_256_cifar.jsonl").read_text() == (
        run / "log.jsonl"
    ).read_text()
    assert "61.00 %" in (tmp_path / "docs" / "figures" / "sdt_2_256_cifar.svg").read_text()
