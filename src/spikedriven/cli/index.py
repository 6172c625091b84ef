"""What `models` and `train --list` show, read from a file: torch is not imported for a list.

The file `index.json` is written by `python tools/write_index.py`; tests/cli/test_index.py holds it
equal to the registered networks and to the recipes. What plugins have registered is added to it.
"""

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from spikedriven.cli.entries import Network, Recipe

FILE = Path(__file__).with_name("index.json")


def networks(filter: str = "*") -> list[Network]:
    """Networks whose names match a wildcard: those of the package, then those of plugins."""
    found = [Network(**entry) for entry in _read()["networks"]]
    if "spikedriven.models.registry" in sys.modules:  # a plugin may have registered some
        from spikedriven.cli.describe import described_networks

        found += described_networks(besides={one.name for one in found})
    return [one for one in found if fnmatch(one.name, filter)]


def recipes(filter: str = "*") -> list[Recipe]:
    """Recipes whose names match a wildcard: those of the package, and those of plugins."""
    from spikedriven.recipes import list_recipes

    known = {entry["name"]: Recipe(**entry) for entry in _read()["recipes"]}
    names = [name for name in list_recipes() if fnmatch(name, filter)]
    if any(name not in known for name in names):
        from spikedriven.cli.describe import described_recipe

        known |= {name: described_recipe(name) for name in names if name not in known}
    return [known[name] for name in names]


def _read() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
