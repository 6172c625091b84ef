"""The wheel: built from the source tree, it runs outside of it, with recipes, images and pages
inside.

Compiling the engine for it takes two minutes of both cores and is slow; every installation from
source does it too.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


#: What the build is told, with the extension and without.
OPTIONS = {"compiled": [], "python": ["--config-settings=wheel.cmake=false"]}


@pytest.fixture(scope="module", params=[pytest.param("compiled", marks=pytest.mark.slow), "python"])
def wheel(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([*command, *OPTIONS[request.param]], check=True, capture_output=True)
    return next(folder.glob("spikedriven-*.whl"))


def test_everything_that_is_not_python_is_inside(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    left_out = (".py", ".pyc", ".cpp", ".h", *([".so"] if "none-any" in wheel.name else []))
    data = [p for p in (ROOT / "src").rglob("*") if p.is_file() and p.suffix not in left_out]
    assert len(data) > 15
    for path in data:
        assert path.relative_to(ROOT / "src").as_posix() in inside


@pytest.mark.slow
def test_it_runs_outside_the_repository(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def spikedriven(*arguments):
        command = [sys.executable, "-m", "spikedriven", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    rows = json.loads(spikedriven("models", "sdt_2_*", "--json"))
    assert {row["name"] for row in rows} >= {"sdt_2_256_cifar", "sdt_2_512_cifar"}
    assert "quickstart" in spikedriven("train", "--list")
    where = "import spikedriven; print(spikedriven.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert Path(run.stdout.strip()).is_relative_to(site)
