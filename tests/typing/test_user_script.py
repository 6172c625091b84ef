"""A user's typed script passes `mypy --strict` against the package as it ships (`py.typed`)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spikedriven

FOLDER = Path(__file__).parent
SOURCE = str(Path(spikedriven.__file__).parents[1])


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """mypy reads the package once for all tests here."""
    return tmp_path_factory.mktemp("mypy")


def check(script: Path, cache: Path) -> str:
    """What mypy prints, in a folder without settings of its own."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    command += ["--cache-dir", str(cache / "mypy"), str(script)]
    env = {**os.environ, "MYPYPATH": SOURCE}
    return subprocess.run(command, cwd=cache, env=env, capture_output=True, text=True).stdout


def test_the_script_of_a_user_is_accepted(cache):
    found = check(FOLDER / "user_script.py", cache)
    about_the_script = [line for line in found.splitlines() if "user_script.py" in line]
    assert about_the_script == [] and found, found


def test_a_wrong_type_is_found(cache, tmp_path):
    """Else the package would be one large Any, and every script would pass."""
    script = tmp_path / "wrong.py"
    script.write_text("import spikedriven as sd\nrates: int = sd.firing_rates(1, 2)\n")
    assert re.search(r"wrong.py:2: error: .*\[(assignment|arg-type)\]", check(script, cache))


def test_every_public_name_is_used():
    text = (FOLDER / "user_script.py").read_text()
    assert [name for name in spikedriven.__all__ if f"sd.{name}" not in text] == []
