"""What a run reports: JSON lines always, the terminal if there is one, TensorBoard if asked for.
Only rank 0 tells anything.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from spikedriven.errors import RecipeError
from spikedriven.files import explain_os_errors, write_atomic


class RunLog:
    """RUN/log.jsonl: one object a line, with `step` and `kind`.

    Kinds: "start", "init", "train", "eval", "firing", "checkpoint", "stop", "end".
    """

    def __init__(
        self,
        run: Path,
        *,
        active: bool,
        total_steps: int,
        step: int = 0,
        position: int = 0,
        tensorboard: bool = False,
    ) -> None:
        """step, position: where a resumed run continues, and how long the log was then; what came
        after is dropped, because the resumed run will tell it again.
        """
        self.active = active
        if not active:
            return
        self.path = run / "log.jsonl"
        with explain_os_errors(self.path):
            before = self.path.read_bytes()[:position] if self.path.exists() else b""
            write_atomic(self.path, before[: before.rfind(b"\n") + 1])
            self.file = self.path.open("a", encoding="utf-8")
        self.console = Console(file=sys.stderr)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar = self.progress.add_task("train", total=total_steps, completed=step, figures="")
        self.board = _open_board(run, step) if tensorboard else None

    @contextmanager
    def open(self) -> Iterator["RunLog"]:
        """Show the progress bar (terminals only) within the block; close the files after it."""
        if not self.active:
            yield self
            return
        try:
            if self.console.is_terminal:
                self.progress.start()
            yield self
        finally:
            self.progress.stop()
            with explain_os_errors(
                self.path
            ):  # a line that the disk had no room for is tried again here
                self.file.close()
            if self.board is not None:
                self.board.close()

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Append one line, and the numbers among `values` to TensorBoard."""
        if not self.active:
            return
        with explain_os_errors(self.path):
            self.file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self.board.add_scalar(f"{kind}/{name}", value, step)

    def position(self) -> int:
        """Bytes written so far: a checkpoint remembers it, so that a resumed run repeats no
        line.
        """
        return self.file.tell() if self.active else 0

    def say(self, text: str) -> None:
        """A line for a person."""
        if self.active:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def advance(self, step: int, figures: str) -> None:
        """Move the progress bar."""
        if self.active:
            self.progress.update(self.bar, completed=step, figures=figures)

    @property
    def is_terminal(self) -> bool:
        return self.active and self.console.is_terminal


def _open_board(run: Path, step: int) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RecipeError(
            "run.tensorboard: TensorBoard is not installed; pip install 'spikedriven[log]'"
        ) from error
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
