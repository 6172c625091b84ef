"""Every event recipe at toy length, from the command line, on event files written here: train,
resume, eval, energy, report.
"""

import json
from pathlib import Path

import pytest
import torch

from spikedriven.cli import main
from spikedriven.runs.checkpoint import load_run
from tests.data.events.sets import write_cifar10_dvs, write_gesture, write_har

SDT = {"embed_dim": 16, "depth": 1, "num_heads": 2}
# With more blocks the gradients of so narrow a LIF network, most of whose neurons are silent,
# overflow.
STAGED = {"embed_dims": "[8,8,16,16]", "num_heads": 2, "depths": "[1,1,1,1,0]"}
SMALL = {
    "sdt_cifar10dvs_2_256_tet": SDT,
    "sdt_cifar10dvs_2_256": SDT,
    "sdt_gesture_2_256_t10": SDT,
    "sdt_gesture_2_256_t16": SDT,
    "spikingformer_cifar10dvs_2_256": SDT,
    "spikingformer_gesture_2_256": SDT,
    "spikformer_cifar10dvs_2_256": SDT,
    "spikformer_gesture_2_256": SDT,
    "e_spikeformer_hardvs_19m": STAGED,
    "meta_spikeformer_hardvs_18m": STAGED,
    "e_spikeformer_gesture_6m": STAGED,
}
STEPS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_cifar10_dvs(folder, per_class=10, events=400)
    write_gesture(folder, users=(2, 1), events=400)
    write_har(folder, clips=(6, 2), frames=5)
    return folder


def train(name: str, root: Path, out: Path, *more: str) -> dict[str, torch.Tensor]:
    """Weights after the command; 2 epochs of 5 or 6 batches."""
    arguments = [
        word for key, value in SMALL[name].items() for word in (f"--model.args.{key}", str(value))
    ]
    words = [
        "train",
        name,
        *arguments,
        "--data.root",
        str(root),
        "--data.workers",
        "0",
        "--data.img-size",
        "32",
        "--data.time-steps",
        str(STEPS),
        "--run.batch-size",
        "4",
        "--run.amp",
        "none",
        "--run.out",
        str(out),
        "--schedule.epochs",
        "2",
        "--schedule.cooldown-epochs",
        "0",
        "--schedule.warmup-epochs",
        "1",
        "--run.device",
        "cpu",
        "--run.log-steps",
        "1",
        "--run.eval-epochs",
        "2",
        *more,
    ]
    words += ["--data.train-fraction", "0.3"] if "cifar10dvs" in name else []
    assert main(words) == 0
    return load_run(out)[0].state_dict()


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_trains_and_its_run_is_evaluated(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(name, root, tmp_path / "run")
    model, recipe = load_run(tmp_path / "run")
    assert (model.time_steps, model.in_chans, recipe.data.img_size) == (STEPS, 2, 32)
    losses = [
        json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    ]
    assert all(0 < record["loss"] < 20 for record in losses if record["kind"] == "train")
    capsys.readouterr()
    assert main(["eval", str(tmp_path / "run"), "--json", "--workers", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["count"]
        == {"cifar10-dvs": 10, "dvs128-gesture": 11, "har-dvs": 4}[recipe.data.dataset]
    )


@pytest.mark.parametrize("name", ["spikingformer_cifar10dvs_2_256", "e_spikeformer_hardvs_19m"])
def test_a_stopped_run_goes_on_with_the_same_numbers(name: str, root: Path, tmp_path: Path) -> None:
    straight = train(name, root, tmp_path / "straight")
    train(name, root, tmp_path / "stopped", "--run.max-steps", "3")
    resumed = train(name, root, tmp_path / "stopped", "--resume")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_energy_and_report_of_an_event_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train("sdt_gesture_2_256_t10", root, run)
    capsys.readouterr()
    assert main(["energy", str(run), "--images", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "dvs128-gesture" in report["data"] and report["reports"][0]["images"] == 5
    assert main(["report", str(run), "--out", str(tmp_path / "page.html"), "--maps", "1"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "dvs128-gesture" in page and "air guitar" in page and "data:image/png" in page


def test_a_network_by_name_is_evaluated_on_events(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    from spikedriven import create_model

    model = create_model("sdt_2_256_gesture", time_steps=2)
    save_file(model.state_dict(), str(tmp_path / "weights.safetensors"))
    words = [
        "eval",
        "sdt_2_256_gesture",
        "--checkpoint",
        str(tmp_path / "weights.safetensors"),
        "--time-steps",
        "2",
    ]
    words += ["--class-order", "by_number"]
    assert (
        main([*words, "--data", "dvs128-gesture", "--root", str(root), "--workers", "0", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["count"] == 11


def test_what_does_not_fit_event_data_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "sdt_gesture_2_256_t10", "--data.dataset", "cifar10", "--show"]) == 2
    assert "the data section is for sets such as dvs128-gesture" in capsys.readouterr().err
    assert main(["train", "quickstart", "--data.dataset=cifar10dvs", "--show"]) == 2
    assert "did you mean cifar10-dvs" in capsys.readouterr().err
    assert (
        main(
            [
                "train",
                "sdt_gesture_2_256_t10",
                "--model.time-steps",
                "7",
                "--run.out",
                str(tmp_path / "r"),
                "--data.root",
                str(root),
            ]
        )
        == 2
    )
    assert "data.time_steps=10" in capsys.readouterr().err
    train("sdt_gesture_2_256_t10", root, tmp_path / "run")
    assert main(["eval", str(tmp_path / "run"), "--crop-pct", "0.9"]) == 2
    assert "--crop-pct 0.9: not an option of the data set dvs128-gesture" in capsys.readouterr().err


def test_the_sets_are_listed_and_checked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--root", str(root), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {
        name for name in ("cifar10-dvs", "dvs128-gesture", "har-dvs") if rows[name]["found"]
    } == {
        "cifar10-dvs",
        "dvs128-gesture",
        "har-dvs",
    }
    path = root / "DvsGesture" / "user00_test.aedat"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1])
        assert main(["data", "--check", "dvs128-gesture", "--root", str(root), "--json"]) == 1
    finally:
        path.write_bytes(whole)
    splits = {part["split"]: part for part in json.loads(capsys.readouterr().out)["splits"]}
    assert splits["train"]["broken"] == [] and splits["train"]["images"] == 22
    assert len(splits["test"]["broken"]) == 1 and "cut off" in splits["test"]["broken"][0]
