"""docs/files.md lists the files that are registered."""

import files_table


def test_the_page_has_the_registered_files():
    text = files_table.PAGE.read_text()
    assert files_table.page(text) == text, "run python tools/files_table.py"
    assert text.count("| `") == len(files_table.list_files())
