"""The public surface is small and changes only on purpose: this list is the frozen one."""

import inspect
import json
from pathlib import Path

import spikedriven as sd
from spikedriven.cli import COMMANDS

FROZEN = json.loads((Path(__file__).parent / "public_surface.json").read_text())


def test_functions_and_their_parameters():
    surface = {name: list(inspect.signature(getattr(sd, name)).parameters) for name in sd.__all__}
    assert surface == FROZEN["functions"]


def test_every_public_function_has_a_docstring_and_types():
    for name in sd.__all__:
        function = getattr(sd, name)
        assert inspect.getdoc(function), name
        assert all(
            p.annotation is not p.empty for p in inspect.signature(function).parameters.values()
        ), name


def test_registered_names():
    assert sorted(sd.list_models()) == sorted(FROZEN["models"])


def test_commands():
    assert sorted(COMMANDS) == FROZEN["commands"]


def test_figures():
    assert sorted(sd.plot.__all__) == FROZEN["figures"]
