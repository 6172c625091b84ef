"""A user who copies a command line from a page, a recipe or a help text gets no error of the
parser."""

from pathlib import Path

import pytest

from tests.command_lines import RECIPES, ROOT, command_lines, refusal, texts

HARDVS = "spikedriven train e_spikeformer_hardvs_19m"
LINES = {path: lines for path in texts() if (lines := command_lines(path))}


@pytest.mark.parametrize("path", LINES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_parses(path: Path, monkeypatch, capsys):
    refused = {
        line: said for line in LINES[path] if (said := refusal(line, monkeypatch)) is not None
    }
    assert not refused, capsys.readouterr().err


def test_the_lines_are_found():
    assert sum(map(len, LINES.values())) > 200
    readme = LINES[ROOT / "README.md"]
    assert any(
        line.startswith("torchrun --nproc-per-node 8 -m spikedriven train") for line in readme
    )
    released = (
        "--data.frame-order directory --data.eval-window random --data.flip-each-frame "
        "--data.val-fraction 0"
    )
    assert LINES[RECIPES / "e_spikeformer_hardvs_19m.yaml"] == [f"{HARDVS} {released}"]


@pytest.mark.parametrize(
    "line",
    [
        f"{HARDVS} --data.flip-each-frame often",
        "spikedriven train no_such_recipe",
        "spikedriven eval RUN --no-such-option 1   # a remark",
        "spikedriven convert sdt_8_512 --num-heads 8",
        "--optim.learning-rate 1e-3",
        "torchrun --nproc-per-node 8 -m spikedriven train quickstart --data.hflip often",
    ],
)
def test_a_line_that_does_not_parse_is_refused(line: str, monkeypatch, capsys):
    assert refusal(line, monkeypatch) == "exit status 2" and capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "spikedriven train RUN --optim.lr 1e-3   (says so)",
        "spikedriven stream RUN F --restart T",
        f"{HARDVS} --data.flip-each-frame true",
        "spikedriven train quickstart --run.compact=False --resume true --optim.decay_all false",
        "spikedriven train --resume true --run.out runs/a --optim.lr 1e-3 quickstart",
        "spikedriven models --json true",
        "spikedriven data --json=false",
        "spikedriven eval RUN --json false",
    ],
)
def test_what_stands_for_a_value_is_taken(line: str, monkeypatch):
    assert refusal(line, monkeypatch) is None
