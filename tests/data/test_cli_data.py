"""`spikedriven data`: the table, the complete check, and their exit statuses."""

import json
from pathlib import Path

import pytest

from spikedriven.cli import main
from spikedriven.data import all_sets, fashion
from tests.data.conftest import ImageFolderMaker, truncate, write_fashion
from tests.data.segmentation.folders import make_voc


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(fashion, "IMAGES_PER_SPLIT", {"train": 20, "test": 20})
    monkeypatch.setenv("SPIKEDRIVEN_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("COLUMNS", "160")


def test_table_says_what_is_found_and_where(
    image_folder: ImageFolderMaker, capsys: pytest.CaptureFixture[str]
):
    root = image_folder()
    assert main(["data", "--root", str(root), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["name"]) for row in listed] == [(e.task, e.name) for e in all_sets()]
    rows = {row["name"]: row for row in listed}
    assert {"cifar10-dvs", "coco2017", "ade20k", "voc2012"} <= rows.keys()
    shipped = {"fashion-mini", "fashion-events", "fashion-scenes"}
    assert {row["name"] for row in listed if row["found"]} == {*shipped, "imagenet", "folder"}
    assert rows["imagenet"]["path"] == str(root)
    assert (rows["fashion-mini"]["train_images"], rows["fashion-mini"]["licence"]) == (
        10_000,
        "MIT",
    )
    assert main(["data"]) == 0
    printed = capsys.readouterr().out
    there = sum(entry.facts.embedded for entry in all_sets())
    assert printed.count("not found") == len(listed) - there
    assert all(name in printed for name in rows)


def test_check_opens_every_image(
    image_folder: ImageFolderMaker, capsys: pytest.CaptureFixture[str]
):
    root = image_folder()
    assert main(["data", "--check", "imagenet", "--root", str(root)]) == 0
    assert "broken:" not in capsys.readouterr().out
    broken = [root / "train" / "bee" / "3.jpg", root / "val" / "ant" / "0.jpg"]
    for path in broken:
        truncate(path)
    assert main(["data", "--check", "imagenet", "--root", str(root), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    for part, path in zip(report["splits"], broken, strict=True):
        assert (part["images"], part["classes"], len(part["broken"])) == (12, 2, 1)
        assert str(path) in part["broken"][0]
    assert report["splits"][0]["published_images"] == 1_281_167
    assert main(["data", "--check", "imagenet", "--root", str(root)]) == 1
    assert f"broken: {broken[1]} cannot be read" in capsys.readouterr().out


def test_check_of_a_found_and_of_a_missing_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_fashion(tmp_path / "sets")
    assert main(["data", "--check", "fashion-mnist", "--root", str(tmp_path / "sets")]) == 0
    assert "20" in capsys.readouterr().out
    assert main(["data", "--check", "fashion-mnist"]) == 2
    assert str(tmp_path / "empty") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "cifar1"], "did you mean cifar10"),
        (["--download"], "name it with --check"),
        (["--chek"], "--chek"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["data", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_help_shows_the_example(capsys: pytest.CaptureFixture[str]):
    assert main(["data", "--help"]) == 0
    assert "spikedriven data --check imagenet --root /data" in capsys.readouterr().out


def test_check_of_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = make_voc(tmp_path)
    assert main(["data", "--check", "voc2012", "--root", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = [(part["images"], part["classes"], part["broken"]) for part in report["splits"]]
    assert found == [(4, 21, []), (2, 21, [])]
    truncate(folder / "SegmentationClass" / "2007_val1.png")
    assert main(["data", "--check", "voc2012", "--root", str(tmp_path)]) == 1
    assert "2007_val1.png cannot be read" in capsys.readouterr().out
