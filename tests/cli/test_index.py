"""Lists are read from an index that equals the real networks and recipes, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from spikedriven.cli import COMMANDS, index
from spikedriven.cli.describe import described_networks, described_recipe
from spikedriven.recipes import FOLDER

SOURCE = Path(__file__).parents[2] / "src"
WRITE = "write it again with: python tools/write_index.py"


def test_the_index_is_that_of_the_registered_networks():
    ours = {one.name for one in index.networks()}  # those of the package; plugins come after them
    known = {one.name: one for one in described_networks()}
    assert index._read()["networks"] == [
        vars(known[e["name"]]) for e in index._read()["networks"]
    ], WRITE
    assert {e["name"] for e in index._read()["networks"]} == set(_shipped(known)), WRITE
    assert ours >= set(_shipped(known))


def _shipped(known: dict[str, index.Network]) -> list[str]:
    """Tests of plugins register networks in the same process; their classes lie elsewhere."""
    from spikedriven.models.registry import family_of

    return [name for name in known if family_of(name).__module__.startswith("spikedriven.")]


def test_the_index_is_that_of_the_recipes():
    names = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    assert index._read()["recipes"] == [vars(described_recipe(name)) for name in names], WRITE


@pytest.mark.parametrize(
    "words",
    [["--help"], ["models"], ["models", "e_*", "--json"], ["models", "--help"], ["train", "--list"],
     ["train", "--list", "sdt*"], ["train", "--help"]],
)  # fmt: skip
def test_lists_and_help_do_without_torch(words: list[str]):
    program = (
        "import sys; from spikedriven.cli import main; status = main(sys.argv[1:])\n"
        "print([name for name in ('torch', 'timm', 'numpy') if name in sys.modules], "
        "file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE), "PATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (0, "[]"), done.stderr


def test_the_overview_names_every_file_that_is_a_command():
    files = (SOURCE / "spikedriven" / "cli").glob("*.py")
    commands = {
        file.stem for file in files if "\ndef run(argv: list[str]) -> int:" in file.read_text()
    }
    assert commands == set(COMMANDS)


def test_a_network_of_a_plugin_is_listed_after_ours(monkeypatch: pytest.MonkeyPatch):
    from spikedriven.models import registry

    name = "sdt_8_384"
    monkeypatch.setitem(registry._VARIANTS, "of_a_plugin", registry._VARIANTS[name])
    monkeypatch.setitem(registry._CLASSES, "of_a_plugin", registry._CLASSES[name])
    monkeypatch.setattr(
        "spikedriven.cli.describe.create_model", lambda _: registry.create_model(name)
    )
    found = index.networks("*plugin")
    assert [(one.name, one.time_steps) for one in found] == [("of_a_plugin", 4)]
