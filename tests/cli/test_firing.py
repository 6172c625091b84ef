"""`spikedriven firing`: the table, JSON and CSV of one measurement."""

import csv
import json
from pathlib import Path

import pytest

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.report.subject import Measured, batches, open_subject
from spikedriven.runs.checkpoint import load_run

TINY = str(Path(__file__).parents[1] / "end_to_end" / "tiny.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firing") / "run"
    assert main(["train", TINY, "--run.out", str(folder), "--run.max-steps", "2"]) == 0
    return folder


def test_json_has_every_layer_and_step(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "firing.json"
    capsys.readouterr()
    assert (
        main(
            [
                "firing",
                str(run),
                "--images",
                "30",
                "--batch-size",
                "20",
                "--out",
                str(out),
                "--json",
            ]
        )
        == 0
    )
    record = json.loads(out.read_text())
    assert record == json.loads(capsys.readouterr().out)
    model, _ = load_run(run)
    subject = open_subject(Measured(str(run), images=30))
    expected = sd.firing_rates(model, [batch for batch, _ in batches(subject)])
    assert record["neurons"] == pytest.approx(expected, rel=1e-9)
    assert [layer["name"] for layer in record["firing"]] == list(expected)
    assert (
        record["images"] <= 30
        and f"{record['images']} images of split test of fashion-mini" == record["source"]
    )
    for layer in record["firing"]:
        assert [step["step"] for step in layer["steps"]] == [1, 2] and record["time_steps"] == 2
        assert all(0 <= step["share_firing"] == step["spikes"] <= 1 for step in layer["steps"])


def test_csv_is_the_same_in_rows(run: Path, tmp_path: Path) -> None:
    for name in ("firing.csv", "firing.json"):
        assert main(["firing", str(run), "--images", "20", "--out", str(tmp_path / name)]) == 0
    record = json.loads((tmp_path / "firing.json").read_text())
    with (tmp_path / "firing.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    expected = [(layer, step) for layer in record["firing"] for step in layer["steps"]]
    assert len(found) == len(expected) > 10
    for row, (layer, step) in zip(found, expected, strict=True):
        assert (row["name"], int(row["step"])) == (layer["name"], step["step"])
        assert (
            float(row["spikes"]) == step["spikes"]
            and float(row["mean_output"]) == step["mean_output"]
        )
        assert (
            float(row["never_fires"]) == layer["never_fires"]
            and int(row["neurons"]) == layer["neurons"]
        )


def test_the_table_and_what_must_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firing", "sdt_2_256_cifar", "--img-size", "16", "--time-steps", "2"]) == 0
    told = capsys.readouterr().out
    assert "step 2" in told and "never fire" in told and "head_neuron" in told
    assert "samples of noise" in told and "Random weights" in told


def test_what_cannot_be_done(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([str(run), "--out", str(tmp_path / "x.txt")], "must end in .json or .csv"),
        ([str(run), "--images", "-1"], "--images -1: expected 0 or more"),
        (["sdt_2_256_cifa"], "sdt_2_256_cifar"),
    ):
        assert main(["firing", *words]) == 2
        assert message in capsys.readouterr().err


def test_energy_reads_the_file_and_names_what_lies_behind_pools(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "firing.json"
    assert (
        main(["firing", str(run), "--images", "30", "--batch-size", "30", "--out", str(out)]) == 0
    )
    capsys.readouterr()
    assert main(["energy", str(run), "--rates", str(out)]) == 2
    told = capsys.readouterr().err
    assert "rates that were not given, for stem.1.project.conv" in told and "mlp" not in told
