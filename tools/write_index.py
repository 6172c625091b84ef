"""Write src/spikedriven/cli/index.json again, after a change of the networks or the recipes.

python tools/write_index.py
"""

import json
from dataclasses import asdict

from spikedriven.cli.describe import described_networks, described_recipe
from spikedriven.cli.index import FILE
from spikedriven.files import write_whole
from spikedriven.recipes import list_recipes


def index() -> str:
    """The text of the file: one line a network or recipe, so that changes are easy to read."""
    parts = {
        "networks": [asdict(one) for one in described_networks()],
        "recipes": [asdict(described_recipe(name)) for name in list_recipes()],
    }
    sections = []
    for name, entries in parts.items():
        lines = ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in entries)
        sections.append(f' "{name}": [\n{lines}\n ]')
    return "{\n" + ",\n".join(sections) + "\n}\n"


if __name__ == "__main__":
    write_whole(FILE, index().encode())
    print(f"written: {FILE}")
