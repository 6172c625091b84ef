"""What the two benchmarks show: their progress, and under what conditions they were made."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from spikedriven.bench.contest import Tell


@contextmanager
def told(name: str, steps: int) -> Iterator[tuple[Path, Tell]]:
    """A temporary folder to measure in, and the function that moves a bar of so many steps on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="spikedriven-bench-") as folder,
        Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress,
    ):
        bar = progress.add_task(name, total=steps)

        def tell(text: str | None) -> None:
            if text is None:
                progress.advance(bar)
            else:
                progress.update(bar, description=f"{name}: {text}")

        yield Path(folder), tell


def conditions(report: dict[str, Any], more: str) -> str:
    """Machine, versions and settings in a sentence. more: what this benchmark adds."""
    found, settings = report["machine"], report["settings"]
    return (
        f"{found['processor']} ({', '.join(found['flags'])}), {found['usable_cores']} cores, "
        f"busy before: {found['load']}, after: {found['load_at_end']}; torch {found['torch']}, "
        f"onnxruntime {found['onnxruntime']}, openvino {found['openvino']}; "
        f"{settings['threads']} threads, {settings['rounds']} rounds, {more}"
    )
