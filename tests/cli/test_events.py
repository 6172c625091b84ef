"""The events command: figures, faults, pictures, conversion; and recordings that other commands
take.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikedriven.cli import main
from spikedriven.data.events import Events, read_events, save_events
from spikedriven.report.recording import FRAMES, OFF_COLOUR, ON_COLOUR, colours, put_together
from tests.data.events.formats import words
from tests.data.events.formats.words import listed

EVENTS = words.random_events(2000, 100, 200, 900_000)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    header = "% Width 200\n% Height 100\n"
    return words.dat_file(tmp_path / "a.dat", words.write_dat(EVENTS), header)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """One event off the sensor, one 5 ms too early, one twice."""
    events = [*EVENTS[:500], (EVENTS[500][0], 201, 3, 1), EVENTS[499], *EVENTS[500:]]
    t, x, y, p = events[900]
    events[900] = (t - 5000, x, y, p)
    return words.dat_file(
        tmp_path / "damaged.dat", words.write_dat(events), "% Width 200\n% Height 100\n"
    )


def told(argument: list, capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    capsys.readouterr()
    assert main(["events", *map(str, argument)]) == status
    return capsys.readouterr().out


def test_figures(recording: Path, capsys: pytest.CaptureFixture[str]):
    shown = " ".join(told([recording], capsys).split())
    on = sum(p for _t, _x, _y, p in EVENTS)
    for text in (
        "Prophesee DAT",
        "200 x 100",
        f"{len(EVENTS):,}",
        f"{on / len(EVENTS):.1%} ON",
        "nothing was found",
    ):
        assert text in shown, text
    found = json.loads(told([recording, "--json"], capsys))
    assert (found["height"], found["width"], found["events"], found["on"]) == (
        100,
        200,
        len(EVENTS),
        on,
    )
    assert (found["start_us"], found["stop_us"]) == (EVENTS[0][0], EVENTS[-1][0])
    assert found["problems"] == [] and not found["refused"] and found["sensor_told"]


def test_faults_and_what_mends_them(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    found = json.loads(told([damaged, "--json"], capsys, status=1))
    counts = {problem["kind"]: problem["count"] for problem in found["problems"]}
    assert (
        counts["outside"] == counts["duplicate"] == 1
        and counts["unsorted"] >= 1
        and found["refused"]
    )
    assert main(["events", str(damaged), "--out", str(tmp_path / "a.npz")]) == 2
    assert (
        "expected x from 0 to 199, found 201" in capsys.readouterr().err
        and not (tmp_path / "a.npz").exists()
    )
    shown = told([damaged, "--out", tmp_path / "a.npz", "--repair"], capsys, status=1)
    assert (
        f"{len(EVENTS) + 1:,} events written to" in shown
        and "; 1 off the sensor were left out" in shown
    )
    mended = read_events(tmp_path / "a.npz")
    assert len(mended) == len(EVENTS) + 1 and (np.diff(mended.t) >= 0).all()


def test_conversion_keeps_every_event(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told([recording, "--out", tmp_path / "a.npz"], capsys)
    assert listed(read_events(tmp_path / "a.npz")) == EVENTS
    assert [file.name for file in tmp_path.glob("*.npz*")] == ["a.npz"]


def test_pictures(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a.html", "a.png", "a.gif"):
        assert f"drawn in {tmp_path / name}" in told([recording, "--draw", tmp_path / name], capsys)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "http" not in page.replace("http-equiv", "")
    for text in (
        "a.dat",
        "Nothing was found that is wrong with it",
        "data:image/gif;base64",
        "200 x 100",
        "<svg",
    ):
        assert text in page, text
    with Image.open(tmp_path / "a.gif") as image:
        assert (
            image.n_frames == FRAMES and image.size == (200, 100) and image.info["duration"] == 100
        )
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG" and image.width == 960


def test_a_page_about_a_damaged_recording_says_so(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told([damaged, "--draw", tmp_path / "a.html"], capsys, status=1)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "What is wrong with it:" in page and "outside (refused by readers): " in page
    assert "1 event(s) outside of 200 x 100 pixels" in page


def test_colours_are_of_the_polarity_and_white_where_nothing_was():
    counts = np.zeros((2, 2, 2), np.int64)
    counts[0, 0, 0], counts[1, 0, 1], counts[:, 1, 0] = 4, 4, 4
    shown = colours(counts, full=4)
    assert shown[0, 0].tolist() == list(OFF_COLOUR) and shown[0, 1].tolist() == list(ON_COLOUR)
    assert shown[1, 1].tolist() == [255, 255, 255] and shown[1, 0].max() < 100
    assert colours(counts // 4, full=4)[0, 0].tolist() == [
        (255 + value) // 2 for value in OFF_COLOUR
    ]
    assert (colours(np.zeros((2, 3, 3), np.int64)) == 255).all()


def test_a_frame_of_the_animation_has_the_events_of_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A pixel that moves one column a frame."""
    t = np.repeat(np.arange(FRAMES) * 10_000 + 10, 40)
    x = (np.repeat(np.arange(FRAMES), 40)).astype(np.int16)
    t[-1] = FRAMES * 10_000 + 9
    events = Events(
        t=t, x=x, y=np.full(len(t), 5, np.int16), p=np.ones(len(t), np.bool_), height=40, width=40
    )
    save_events(tmp_path / "a.npz", events)
    told([tmp_path / "a.npz", "--draw", tmp_path / "a.gif"], capsys)
    with Image.open(tmp_path / "a.gif") as image:
        for number in range(FRAMES):
            image.seek(number)
            pixels = np.asarray(image.convert("RGB"))[::8, ::8].astype(
                int
            )  # each pixel is a square of 8 x 8
            dark = np.argwhere(pixels.sum(2) < 600).tolist()
            assert dark == [[5, number]], number


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        (["--repair"], "--repair changes what is written: name the file with --out"),
        (["--out", "a.csv"], "--out a.csv: expected a file that ends with .npz"),
        (["--draw", "a.svg"], "--draw a.svg: expected a file that ends with .html, .png, .gif"),
        (
            ["--draw", "a.gif", "--out", "a.npz", "--height", "5000"],
            "expected a sensor of 1 to 4096 pixels",
        ),
        (["--columns", "t,x,y,p"], "leave --columns and --time-unit out"),
    ],
)
def test_what_cannot_be_done_says_why(
    words_: list[str],
    message: str,
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main(["events", str(recording), *words_]) == 2
    assert message in capsys.readouterr().err
    assert not list(empty.iterdir())


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["events", str(tmp_path / "none.raw"), "--out", str(tmp_path / "a.npz")]) == 2
    assert "none.raw cannot be read: No such file" in capsys.readouterr().err
    assert main(["events", str(tmp_path)]) == 2
    assert "cannot be read: Is a directory" in capsys.readouterr().err


def test_the_picture_of_a_huge_sensor_is_put_together():
    counts = np.zeros((2, 3, 2600), np.int32)
    counts[1, 2, 2599], counts[0, 0, :3] = 5, 1
    found = put_together(counts)
    assert found.shape == (2, 1, 867) and found.sum() == 8
    assert found[0, 0, 0] == 3 and found[1, 0, 866] == 5


def test_the_standard_input_is_surveyed_only(capsys: pytest.CaptureFixture[str]):
    assert main(["events", "-", "--out", "a.npz"]) == 2
    assert "the standard input can be read only once" in capsys.readouterr().err


def test_a_text_whose_sensor_nobody_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in EVENTS)
    (tmp_path / "events.txt").write_text(text)
    found = json.loads(told([tmp_path / "events.txt", "--json"], capsys))
    assert not found["sensor_told"] and found["width"] == max(x for _t, x, _y, _p in EVENTS) + 1
    assert main(["events", str(tmp_path / "events.txt"), "--out", str(tmp_path / "a.npz")]) == 2
    assert "give height and width" in capsys.readouterr().err
    told(
        [tmp_path / "events.txt", "--out", tmp_path / "a.npz", "--height", 100, "--width", 200],
        capsys,
    )
    assert listed(read_events(tmp_path / "a.npz")) == EVENTS


def test_the_animation_of_a_large_sensor_is_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = words.raw_file(
        tmp_path / "a.raw", "EVT3", words.write_evt3(words.random_events(500, 720, 1280, 90_000))
    )
    told([path, "--draw", tmp_path / "a.gif"], capsys)
    with Image.open(io.BytesIO((tmp_path / "a.gif").read_bytes())) as image:
        assert image.size == (320, 180)
