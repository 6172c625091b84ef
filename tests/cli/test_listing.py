"""Lists that nothing is missing from, whatever the width."""

import io

import pytest
from rich.table import Table

from spikedriven.cli.listing import layout, print_table

HEADER = ("name", "epochs", "description")
ROWS = [
    ("meta_spikeformer_coco_cascade_mask_rcnn_15m", "36", "a long text " * 12),
    ("sdt", "300", ""),
]


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_pipe_has_one_line_a_row():
    lines = layout(HEADER, ROWS, right=("epochs",), wraps=("description",)).splitlines()
    assert (
        len(lines) == 3 and lines[1].endswith("a long text") and lines[1].count("a long text") == 12
    )
    assert [
        line.index(cell) + len(cell)
        for line, cell in zip(lines, ("epochs", "36", "300"), strict=True)
    ] == [51] * 3


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_gets_lines_that_fit_with_every_word(width: int):
    text = layout(HEADER, ROWS, wraps=("description",), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert (
        words(text).count("a long text") >= 10 and ROWS[0][0] in text and text.count("long") == 12
    )


def test_where_columns_do_not_fit_each_row_is_a_block():
    text = layout(HEADER, ROWS, wraps=("description",), width=50)
    assert text.startswith(f"{ROWS[0][0]}\n    epochs: 36; description: a long text")
    assert text.endswith("sdt\n    epochs: 300") and text.count("long") == 12
    assert max(map(len, text.splitlines())) <= 50


def test_a_table_of_rich_is_whole_in_a_pipe():
    table = Table("name", *(f"column {i}" for i in range(30)))
    table.add_row("n" * 90, *(str(10**9 + i) for i in range(30)))
    file = io.StringIO()
    print_table(table, file)
    assert "n" * 90 in file.getvalue() and all(str(10**9 + i) in file.getvalue() for i in range(30))
    assert "…" not in file.getvalue()
