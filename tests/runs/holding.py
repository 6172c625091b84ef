"""Another process that has a run folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import spikedriven

HOLD = """
import sys, time
from pathlib import Path
from spikedriven.runs.claim import Claim
claim = Claim(Path(sys.argv[1]))
claim.take()
print("taken", flush=True)
time.sleep(60)
"""


@contextmanager
def holding(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Within the block another process has the folder; it is killed at the end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(spikedriven.__file__).parents[1])}
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()
