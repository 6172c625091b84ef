"""Reports as tables: in a notebook, as a CSV file, as a pandas frame."""

import csv
import importlib
import io
from abc import abstractmethod
from html import escape
from pathlib import Path
from typing import Any

from spikedriven.errors import InputError
from spikedriven.files import write_whole


class Tabular:
    """A report with one record a row. A subclass gives `records`, and `headline` where it has a
    verdict.
    """

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """One flat dictionary a row, all with the same keys: numbers, text or None."""

    def headline(self) -> str:
        """What stands above the table in a notebook."""
        return ""

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame. InputError where pandas is not installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
            message = (
                "to_pandas needs pandas: pip install pandas. Without it: to_csv(path), or records()"
            )
            raise InputError(message) from error
        return pandas.DataFrame.from_records(self.records())

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as CSV with a header; written to the file, if one is named. Numbers are not
        rounded.
        """
        rows, buffer = self.records(), io.StringIO()
        if rows:
            writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        if path is not None:
            write_whole(Path(path), buffer.getvalue().encode(), "another path")
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        """What notebooks show."""
        rows = self.records()
        head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else {}))
        body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
        told = "".join(f"<p>{escape(line)}</p>" for line in self.headline().splitlines())
        return f"{told}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    style = ' style="text-align: right"' if number else ""
    return f"<td{style}>{escape(text)}</td>"
