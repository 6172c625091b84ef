"""Starting this package's programs in processes of their own, one thread each."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN_4 = [*TORCHRUN[:-1], "4"]


def start(*words: str | Path, group: bool = False) -> subprocess.Popen[str]:
    """`python WORDS` at the repository's root; standard output and errors are one pipe. group:
    in a process group.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=group,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], status: int = 0, timeout_s: float = 180) -> str:
    """Wait for it; returns what it printed. A process that prints more than a pipe holds waits
    for this to read.
    """
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == status, output
    return output
