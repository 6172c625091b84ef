"""Write the table of all published files into docs/files.md, between its markers.

    python tools/files_table.py

A test fails where the page and the registered files differ.
"""

from pathlib import Path

import spikedriven  # noqa: F401  # registers the files
from spikedriven.cli.published_files import data, images, keywords
from spikedriven.models.tags import TASKS, PublishedFile, list_files

PAGE = Path(__file__).parents[1] / "docs" / "files.md"
START, END = "<!-- table -->\n", "<!-- end -->\n"


def table() -> str:
    """One table for each task."""
    parts = []
    for task in TASKS:
        files = [file for file in list_files() if file.task == task]
        rows = [
            "| NAME.TAG | keywords | data | images | published | file |",
            "|---|---|---|---|---|---|",
        ]
        parts.append("\n".join([f"### {task.capitalize()}\n", *rows, *map(_row, files)]) + "\n")
    return "\n".join(parts)


def _row(file: PublishedFile) -> str:
    link = f"[link]({file.url})" if file.url else "not public"
    cells = (
        f"`{file.full_name}`",
        keywords(file),
        data(file),
        images(file),
        file.published or "none",
        link,
    )
    return f"| {' | '.join(cells)} |"


def page(text: str) -> str:
    """The page with its table written anew."""
    before, rest = text.split(START)
    return f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
