"""The log of a run, read for its curves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikedriven.errors import DataError
from spikedriven.report.charts import Series

LOG = "log.jsonl"


@dataclass(frozen=True)
class History:
    """Records of RUN/log.jsonl by kind, in order: what was trained, evaluated, where the run
    started, and how the layers of neurons fired at evaluations.
    """

    train: tuple[dict[str, Any], ...]
    evaluated: tuple[dict[str, Any], ...]
    starts: tuple[dict[str, Any], ...]
    firing: tuple[dict[str, Any], ...]

    def curve(self, kind: str, field: str, name: str) -> Series:
        """One field over the step. kind: "train" or "evaluated"."""
        return Series(
            name, [(r["step"], float(r[field])) for r in getattr(self, kind) if field in r]
        )

    def seconds(self) -> float | None:
        """Time between the first and the last line that trained; None where fewer than two were
        written.
        """
        times = [record["time"] for record in self.train if "time" in record]
        return times[-1] - times[0] if len(times) > 1 else None


def read_history(run: Path) -> History | None:
    """None where the run has no log. A last line cut off by a kill is passed over, other broken
    lines are errors.
    """
    path = run / LOG
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(
        lines[:-1], start=1
    ):  # what follows the last line break is empty, or cut off
        try:
            record = json.loads(line)
            records.append((record["kind"], record))
        except (ValueError, KeyError, TypeError) as error:
            found = f"found {line[:60]!r}"
            raise DataError(
                f"{path}, line {number}: expected a JSON object with a kind, {found}"
            ) from error
    kinds = ("train", "eval", "start", "firing")
    return History(
        *(tuple(record for kind, record in records if kind == wanted) for wanted in kinds)
    )
