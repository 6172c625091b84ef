"""Data of one's own, one command each: training, evaluation, prediction and report keep the names
of the classes.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.data import data_of
from tests.data.own.folders import class_folders, coco_content, picture, recording, write_json
from tests.data.own.test_maps_and_recordings import maps
from tests.data.own.test_pictures import listed

SHORT = ["--run.device", "cpu", "--data.workers", "0", "--schedule.epochs", "2"]
SHORT += ["--schedule.warmup-epochs", "0.5", "--run.batch-size", "4"]
SMALL = [
    "--model.name",
    "sdt_2_256_cifar",
    "--model.args.embed_dim",
    "64",
    "--model.args.depth",
    "1",
]
SMALL += ["--data.img-size", "32", "--run.channels-last", "false", *SHORT]


def trained(recipe: str, root: Path, run: Path, *options: str) -> Path:
    """A run of two epochs."""
    words = ["--data.root", str(root), "--run.out", str(run), *options]
    assert main(["train", recipe, *words]) == 0
    return run


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints."""
    capsys.readouterr()
    assert main([*words]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, run) of three classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 8), ("val", 4)):
        class_folders(folder / "data" / part, ("cat", "dog", "horse"), count)
    return folder / "data", trained("own_classification", folder / "data", folder / "run", *SMALL)


def test_the_run_keeps_names_and_says_them_everywhere(pictures, tmp_path: Path, capsys):
    data, run = pictures
    assert load_run(run)[0].class_names == data_of(run).classes == ("cat", "dog", "horse")
    found = json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))
    assert list(found["recall"]) == ["cat", "dog", "horse"] and found["count"] == 12
    one = str(data / "val" / "dog" / "0.png")
    words = ["predict", str(run), one, "--out", str(tmp_path), "--json"]
    (answer,) = json.loads(said(capsys, *words))
    assert {row["class"] for row in answer["top"]} == {"cat", "dog", "horse"}
    page = tmp_path / "page.html"
    said(capsys, "report", str(run), "--out", str(page), "--images", "4")
    assert all(name in page.read_text() for name in ("cat", "dog", "horse"))


def test_a_program_has_the_names(pictures, tmp_path: Path, capsys):
    said(capsys, "compile", str(pictures[1]), "--out", str(tmp_path / "a.sdp"))
    assert sd.load_program(tmp_path / "a.sdp").classes == ("cat", "dog", "horse")


@pytest.mark.slow
def test_exported_files_have_the_names(pictures, tmp_path: Path, capsys):
    _, run = pictures
    said(capsys, "export", str(run), str(tmp_path / "a.onnx"))
    entries = {e.key: e.value for e in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(entries["classes"]) == ["cat", "dog", "horse"]
    nir = pytest.importorskip("nir")
    said(capsys, "export", str(run), str(tmp_path / "a.nir"))
    kept = nir.read(tmp_path / "a.nir", type_check=False).metadata["classes"]
    text = kept.decode() if isinstance(kept, bytes) else kept
    assert json.loads(text) == ["cat", "dog", "horse"]


def test_names_do_not_follow_what_lies_at_the_root_today(pictures, tmp_path: Path, capsys):
    data, run = pictures
    for part in ("train", "val"):
        (data / part / "horse").rename(data / part / "ant")
    try:
        assert main(["eval", str(run), "--workers", "0"]) == 2
        error = capsys.readouterr().err
        assert (
            "has other classes than the network was trained on" in error
            and "'cat' there and 'ant'" in error
        )
        one = str(data / "val" / "dog" / "0.png")
        words = ["predict", str(run), one, "--out", str(tmp_path), "--json"]
        (answer,) = json.loads(said(capsys, *words))
        assert {row["class"] for row in answer["top"]} == {"cat", "dog", "horse"}
    finally:
        for part in ("train", "val"):
            (data / part / "ant").rename(data / part / "horse")


def test_a_run_is_resumed_on_the_same_samples_only(tmp_path: Path, capsys):
    data = class_folders(tmp_path / "data", count=10)
    run = trained("own_classification", data, tmp_path / "run", *SMALL, "--run.max-steps", "1")
    more = ["train", str(run), "--resume", "--run.max-steps", "2"]
    picture(data / "cat" / "new.png", 7, (32, 32))
    assert main(more) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "was started on other data: 16 samples of 2 classes (cat, dog) then, 17 samples" in error
    (data / "cat" / "new.png").unlink()
    (data / "cat" / "3.png").rename(data / "dog" / "13.png")
    assert main(more) == 2 and "started on other data" in capsys.readouterr().err
    (data / "dog" / "13.png").rename(data / "cat" / "3.png")
    data.rename(tmp_path / "moved")
    assert main([*more, "--data.root", str(tmp_path / "moved")]) == 0


def test_roots_are_absolute_and_read(tmp_path: Path, monkeypatch, capsys):
    class_folders(tmp_path / "data", count=5)
    monkeypatch.chdir(tmp_path)
    run = trained(
        "own_classification", Path("data"), tmp_path / "run", *SMALL, "--run.max-steps", "1"
    )
    assert load_run(run)[1].data.root == tmp_path / "data"
    monkeypatch.chdir(tmp_path / "run")
    assert json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))["count"] == 2
    assert main(["train", "quickstart", "--data.root", "data"]) == 2
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "fashion-mini is part of the package, and nothing of that folder would be read" in error


def test_several_labels(tmp_path: Path, capsys):
    data = listed(tmp_path / "data", several=True, count=24).parent
    one_label = ["--data.root", str(data), "--loss.kind", "cross_entropy", *SMALL]
    assert main(["train", "own_tags", *one_label, "--run.out", str(tmp_path / "no")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "have several labels; expected binary_cross_entropy" in error
    run = trained("own_tags", data, tmp_path / "run", *SMALL)
    found = json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))
    assert set(found["ap"]) == {"red", "round"} and 0 <= found["map"] <= 100 and "f1" in found
    one = str(data / "pictures" / "1.png")
    (answer,) = json.loads(said(capsys, "predict", str(run), one, "--out", str(tmp_path), "--json"))
    shares = [row["share"] for row in answer["top"]]
    assert {row["class"] for row in answer["top"]} == {"red", "round"} and all(
        0 < s < 1 for s in shares
    )
    page = tmp_path / "page.html"
    said(capsys, "report", str(run), "--out", str(page), "--images", "4")
    assert "Mean average precision" in page.read_text() and "round" in page.read_text()


def test_fine_tuning_from_weights_that_ship(tmp_path: Path, capsys):
    data = class_folders(tmp_path / "data", count=5)
    run = trained("own_finetune", data, tmp_path / "run", *SHORT, "--run.max-steps", "1")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (init,) = [line for line in log if line["kind"] == "init"]
    shipped = sd.create_model("e_spikeformer_fashion", pretrained=True)
    heads = {key for key in shipped.state_dict() if key.startswith("head.")}
    assert len(init["loaded"]) == len(shipped.state_dict()) - len(heads)
    other = [
        "--model.init",
        "sdt_8_512",
        "--data.root",
        str(data),
        "--run.out",
        str(tmp_path / "no"),
    ]
    assert main(["train", "own_finetune", *other, *SHORT]) == 2
    assert "no weights of this network ship" in " ".join(capsys.readouterr().err.split())


def test_boxes(tmp_path: Path, capsys):
    data, names = tmp_path / "data", {4: "nut", 17: "bolt"}
    for part in ("train", "val"):
        for i in range(3):
            picture(data / part / f"{i}.jpg", i)
        write_json(data / part / "_annotations.coco.json", coco_content(names))
    options = ["--data.sizes", "64", "--data.test-size", "64", "--data.max-size", "96"]
    short = [*SHORT, "--run.batch-size", "2", "--run.channels-last", "false"]
    run = trained("own_detection", data, tmp_path / "run", *short, *options)
    assert load_run(run)[0].class_names == ("nut", "bolt")
    found = json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))
    assert set(found["map_per_class"]) == {"nut", "bolt"} and "segm_map" not in found
    words = ["predict", str(run), str(data / "val" / "0.jpg"), "--out", str(tmp_path)]
    objects = json.loads(said(capsys, *words, "--score", "0.0", "--json"))[0]["objects"]
    assert {row["class"] for row in objects} <= {"nut", "bolt"}
    wrong = ["--model.name", "mask_rcnn", "--data.root", str(data)]
    assert main(["train", "own_detection", *wrong, "--run.batch-size", "2"]) == 2
    assert "have boxes only; use retinanet" in " ".join(capsys.readouterr().err.split())


def test_label_maps(tmp_path: Path, capsys):
    data = maps(tmp_path / "data")
    options = [
        "--data.img-size",
        "48",
        "--data.resize",
        "64",
        "48",
        *SHORT,
        "--run.batch-size",
        "2",
    ]
    run = trained(
        "own_segmentation", data, tmp_path / "run", *options, "--run.channels-last", "false"
    )
    found = json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))
    assert list(found["iou"]) == ["road", "car"]
    one = str(data / "images" / "val" / "0.jpg")
    (answer,) = json.loads(said(capsys, "predict", str(run), one, "--out", str(tmp_path), "--json"))
    assert set(answer["shares"]) <= {"road", "car"}


def test_recordings(tmp_path: Path, capsys):
    data = tmp_path / "data"
    for label, name in enumerate(("left", "right")):
        for i in range(6):
            recording(data / name / f"{i}.npz", 2 * i + label)
    options = ["--data.img-size", "32", "--data.time-steps", "4", "--model.args.embed_dim", "64"]
    run = trained("own_events", data, tmp_path / "run", *SHORT, *options)
    found = json.loads(said(capsys, "eval", str(run), "--json", "--workers", "0"))
    assert list(found["recall"]) == ["left", "right"] and found["count"] == 2
    file = str(data / "left" / "0.npz")
    lines = said(capsys, "stream", str(run), file, "--whole", "--json").splitlines()
    assert len(lines) == 4 and all(json.loads(line)["label"] in ("left", "right") for line in lines)


def test_the_data_command_checks_own_folders(tmp_path: Path, capsys):
    data = maps(tmp_path / "data")
    report = json.loads(said(capsys, "data", "--check", "folder", "--root", str(data), "--json"))
    assert [part["task"] for part in report["splits"]] == ["segmentation"] * 2
    assert np.sum([part["images"] for part in report["splits"]]) == 8
