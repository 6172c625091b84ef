"""The notebooks of the book run from top to bottom, and print what their text promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.md"))
#: What a notebook has to print, whatever the processor.
PRINTS = {
    "first_spikes": [
        "current 0.8: [0, 0, 0, 0, 0, 0, 0, 0]",
        "prediction: Pullover",
        "After folding: addition-only",
    ],
    "train_and_look": ["chance is 10 %", "True"],
    "own_network_to_program": ["NOT addition-only, because of head (linear)", "True\n", "KiB"],
    "energy_of_a_table": ["7.4635 mJ per image"],
    "events": ["same as all at once: True", "1000 events"],
}


def cells(path: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    return re.findall(
        r"^```\{code-cell\} python\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path):
    script = tmp_path / f"{path.stem}.py"
    script.write_text("\n".join(cells(path)))
    settings = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "default"}
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=settings, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert [text for text in PRINTS[path.stem] if text not in ran.stdout] == [], ran.stdout


def test_there_are_five_and_each_has_code():
    assert {path.stem for path in NOTEBOOKS} == PRINTS.keys()
    assert all(len(cells(path)) >= 5 for path in NOTEBOOKS)
