"""Lists for the terminal and for pipes: no name is cut and no column is dropped, however narrow."""

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Between two columns.
GAP = "  "
#: A column of text that wraps keeps at least so many characters.
LEAST = 24
_NO_LIMIT = 100_000


def show(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str] = (),
    wraps: Collection[str] = (),
) -> None:
    """Print a list to stdout: as wide as the terminal, and one line a row in a pipe or a file.

    header: names of the columns. rows: as many cells each. right: columns aligned to the right.
    wraps: columns that may be broken over several lines in a terminal; the others never are.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(layout(header, rows, right, wraps, width))


def layout(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str] = (),
    wraps: Collection[str] = (),
    width: int | None = None,
) -> str:
    """The text of `show`. width: columns of the terminal; None: no limit.

    Where the table would not fit, each row is a block: its first cell, and the others below.
    """
    found = _widths(header, rows, wraps, width)
    if found is None:
        return "\n".join(_block(header, row, width or 0) for row in rows)
    lines = [_line(header, found, header, right)]
    for row in rows:
        parts = [_folded(cell, size) for cell, size in zip(row, found, strict=True)]
        for i in range(max(map(len, parts))):
            cells = [part[i] if i < len(part) else "" for part in parts]
            lines.append(_line(cells, found, header, right))
    return "\n".join(lines)


def _widths(
    header: Sequence[str], rows: Sequence[Sequence[str]], wraps: Collection[str], width: int | None
) -> list[int] | None:
    """Of the columns; None where they do not fit."""
    natural = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if width is None:
        return natural
    spare = width - len(GAP) * (len(natural) - 1)
    folding = [i for i, name in enumerate(header) if name in wraps]
    while sum(natural) > spare:
        widest = max(folding, key=lambda i: natural[i], default=None)
        if widest is None or natural[widest] <= LEAST:
            return None
        natural[widest] -= 1
    return natural


def _folded(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width) or [""] if len(cell) > width else [cell]


def _line(
    cells: Sequence[str], widths: Sequence[int], header: Sequence[str], right: Collection[str]
) -> str:
    parts = (
        cell.rjust(width) if name in right else cell.ljust(width)
        for cell, width, name in zip(cells, widths, header, strict=True)
    )
    return GAP.join(parts).rstrip()


def _block(header: Sequence[str], row: Sequence[str], width: int) -> str:
    """The first cell, and below it the others with their names."""
    told = [f"{name}: {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell]
    short = textwrap.wrap(
        "; ".join(told), max(width, LEAST), initial_indent="    ", subsequent_indent="    "
    )
    return "\n".join([row[0], *short])


def print_table(shown: "RenderableType", file: TextIO | None = None) -> None:
    """Print a table of rich's, or a group with tables: one line a row in a pipe; in a terminal
    cells wrap, none is cut.
    """
    from rich.console import Console, Group  # lists do without rich
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(file=file)
    for part in shown.renderables if isinstance(shown, Group) else [shown]:
        if not isinstance(part, Table):
            console.print(part, soft_wrap=True)
            continue
        for column in part.columns:
            column.overflow = "fold"
        needed = Measurement.get(console, console.options.update(max_width=_NO_LIMIT), part)
        wide = max(console.width, needed.minimum) if console.is_terminal else needed.maximum
        Console(file=file, width=wide).print(part)
