"""Memory of a long run does not grow: the process as the system sees it, with a checkpoint
every five steps.
"""

import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.processes import finish, start

RECIPE = Path(__file__).parent / "tiny.yaml"
STEPS_PER_EPOCH = 12
#: Bytes; the allocator of the C library wavers by two or three million.
LARGEST_GROWTH = 10 << 20
TIMEOUT_S = 1500


def resident(process: subprocess.Popen[str]) -> int:
    """Bytes of the process that are in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    log, deadline = run / "log.jsonl", time.monotonic() + TIMEOUT_S
    while not (log.exists() and f'"train", "step": {step},' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, (
            f"step {step} was not reached"
        )
        time.sleep(0.005)


def median_around(step: int, run: Path, process: subprocess.Popen[str]) -> float:
    """Over twenty steps from this one on."""
    found = []
    for number in range(step, step + 20, 2):
        wait_for_step(run, number, process)
        found.append(resident(process))
    return statistics.median(found)


@pytest.mark.slow
@pytest.mark.parametrize(("early", "steps"), [(60, 200), (200, 2000)])
def test_memory_is_flat(early: int, steps: int, tmp_path: Path) -> None:
    run, epochs = (
        tmp_path / "run",
        steps // STEPS_PER_EPOCH + 2,
    )  # the evaluation after the last is not reached
    options = (
        "--run.out",
        run,
        "--run.max-steps",
        steps,
        "--schedule.epochs",
        epochs,
        "--run.eval-epochs",
        epochs,
    )
    process = start("-m", "spikedriven", "train", RECIPE, *map(str, options))
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(
            finish, process, timeout_s=TIMEOUT_S
        )  # reads what the run prints: pipes fill
        before = median_around(early, run, process)
        after = median_around(steps - 30, run, process)
        finished.result()
    assert after - before < LARGEST_GROWTH, (
        f"{(after - before) / 2**20:.1f} MiB more in {steps - early} steps"
    )
