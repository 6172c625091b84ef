"""What pages are put together from: markup, charts, the log of a run, the environment."""

import json
import math
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikedriven.report.environment as environment
from spikedriven.errors import DataError, InputError
from spikedriven.files import write_whole
from spikedriven.report.charts import Series, line_chart, ticks
from spikedriven.report.findings import Sample, some_of_each
from spikedriven.report.history import read_history
from spikedriven.report.html import Html, bar, heat, table, tag
from spikedriven.report.sections.training import dead_or_saturated


@given(st.text(), st.text())
def test_text_and_attributes_are_escaped(content, value):
    allowed = "".join(c for c in content + value if c.isprintable())
    root = ElementTree.fromstring(tag("p", allowed, title=allowed))
    assert (root.text or "") == allowed and root.get("title") == allowed and len(root) == 0


def test_markup_stays_markup_and_none_is_nothing():
    assert (
        tag("p", tag("b", "<"), None, hidden=True, id=None, class_="x")
        == '<p hidden class="x"><b>&lt;</b></p>'
    )
    assert isinstance(tag("br"), Html) and tag("meta", name="a") == '<meta name="a">'


def test_tables_have_caption_and_scopes():
    root = ElementTree.fromstring(
        table("A caption", ("name", "n"), [("a", 1), ("b", heat(2, 4, "2"))], (1,))
    )
    assert root.get("tabindex") == "0" and root.get("aria-label") == "A caption"
    assert "".join(root.find("table/caption").itertext()) == "A caption"
    assert [th.get("scope") for th in root.iter("th")] == ["col", "col", "row", "row"]
    assert [td.get("style") for td in root.iter("td")] == [None, "--share:25.0%"]


@pytest.mark.parametrize(
    ("value", "largest", "share"), [(5, 10, "50.00%"), (20, 10, "100.00%"), (1, 0, "0.00%")]
)
def test_bars_are_shares(value, largest, share):
    assert f"--share:{share}" in bar(value, largest, "x").markup


def test_heat_of_nothing_is_transparent():
    assert (
        "--share:0.0%" in heat(math.nan, 1, "–").markup and "--share:0.0%" in heat(1, 0, "1").markup
    )


@given(st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=9))
def test_ticks_enclose_all_values(values):
    found = ticks(values, 5)
    step = found[1] - found[0]
    assert 2 <= len(found) <= 8
    assert found[0] <= min(values) + 1e-6 * step and found[-1] >= max(values) - 1e-6 * step


def test_chart_draws_finite_points_only_and_describes_itself():
    series = [Series("loss", [(1, 2.0), (2, math.nan), (3, 1.0)]), Series("<other>", [(3, 1.5)])]
    root = ElementTree.fromstring(line_chart("c", "Loss & co", "step", series))
    assert (
        root.get("aria-labelledby") == "c-title c-desc" and root.find("title").text == "Loss & co"
    )
    assert "loss: 2 at step 1, 1 at step 3" in root.find("desc").text
    assert [len(line.get("points").split()) for line in root.iter("polyline")] == [2, 1]
    (x0, y0), (x1, y1) = (
        map(float, p.split(",")) for p in next(root.iter("polyline")).get("points").split()
    )
    assert x0 < x1 and y0 < y1  # SVG's y points down, and the loss fell
    assert "no finite value" in line_chart("d", "Empty", "step", [Series("loss", [(1, math.inf)])])


def test_history_of_a_killed_run(tmp_path):
    lines = [
        {"kind": "start", "step": 0},
        {"kind": "train", "step": 1, "loss": 2.0, "time": 5.0},
        {"kind": "train", "step": 2, "loss": 1.0, "time": 65.0},
        {"kind": "eval", "step": 2, "top1": 50.0},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "log.jsonl").write_text(text + '\n{"kind": "tra')
    history = read_history(tmp_path)
    assert (
        history.curve("train", "loss", "x").points == [(1, 2.0), (2, 1.0)]
        and history.seconds() == 60.0
    )
    assert (
        history.curve("evaluated", "top1", "x").points == [(2, 50.0)] and len(history.starts) == 1
    )
    (tmp_path / "log.jsonl").write_text("[1]\n" + text)
    with pytest.raises(DataError, match=r"log.jsonl, line 1: expected a JSON object"):
        read_history(tmp_path)
    assert read_history(tmp_path / "nowhere") is None


def test_dead_layers_are_listed_with_when_they_were(tmp_path):
    looks = [
        {
            "kind": "firing",
            "step": step,
            "dead": ["a.neuron"] * (step < 30),
            "saturated": ["b"] * (step == 20),
        }
        for step in (10, 20, 30)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    shown = dead_or_saturated(read_history(tmp_path))
    rows = [
        ["".join(cell.itertext()) for cell in row]
        for row in ElementTree.fromstring(f"<p>{shown.replace('<wbr>', '')}</p>").iter("tr")
    ]
    assert rows[1:] == [["a.neuron", "dead", "2", "10", "20"], ["b", "saturated", "1", "20", "20"]]
    (tmp_path / "log.jsonl").write_text(json.dumps(looks[2]) + "\n")
    assert "no layer of neurons was dead" in dead_or_saturated(read_history(tmp_path))
    (tmp_path / "log.jsonl").write_text(json.dumps({"kind": "eval", "step": 1}) + "\n")
    assert (
        dead_or_saturated(read_history(tmp_path)) == ""
    )  # a run of an earlier version did not look


def test_samples_are_half_wrong_where_there_are_so_many():
    def chosen(said: list[int], most: int) -> list[int]:
        samples = [Sample(i, 0, guess, 1.0) for i, guess in enumerate(said)]
        return [sample.image for sample in some_of_each(samples, most)]

    assert chosen([0, 0, 0, 1, 1, 1], 4) == [0, 1, 3, 4]
    assert chosen([0, 0, 0, 0, 1], 4) == [0, 1, 2, 4]
    assert chosen([1, 1, 1, 1, 0], 4) == [0, 1, 2, 4]
    assert chosen([1, 0], 4) == [0, 1] and chosen([1, 0], 0) == []


def test_files_are_whole_or_as_before(tmp_path):
    path = write_whole(tmp_path / "new" / "page.html", b"first")
    assert path.read_bytes() == b"first" and [p.name for p in path.parent.iterdir()] == [
        "page.html"
    ]
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(path / "inside a file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "folder", b"x")
    assert not list(tmp_path.glob(".*"))


def test_source_commit_is_that_of_a_checkout_only(tmp_path, monkeypatch):
    module = tmp_path / "src" / "spikedriven" / "report" / "environment.py"
    module.parent.mkdir(parents=True)
    init = module.parents[1] / "__init__.py"
    init.write_text("")
    monkeypatch.setattr(environment, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.source_commit() is None

    def git(*words: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path), *settings, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-q", "-m", "x")
    assert (
        environment.source_commit() is None
    )  # not tracked: a virtual environment inside some other repository
    git("add", "src/spikedriven/__init__.py")
    git("commit", "-q", "-m", "x")
    assert environment.source_commit() == git("rev-parse", "HEAD")
    init.write_text("changed")
    assert environment.source_commit().endswith("with uncommitted changes")
    assert Path(environment.__file__) == module and environment.environment()["torch"]
