"""One of two processes under torchrun dies, or stops answering: the other says so and ends in
bounded time; started again with --resume, the run ends with the numbers of one that nobody
disturbed.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spikedriven.errors import RecipeError
from spikedriven.recipes.types import RunConfig
from spikedriven.runs.checkpoint import read_checkpoint
from spikedriven.runs.distributed import World, _explain_lost_process
from tests.end_to_end.processes import TORCHRUN, finish, start
from tests.end_to_end.test_faults_kill import assert_same
from tests.training.toys import ALONE

RECIPE = Path(__file__).parent / "tiny.yaml"
LAST_STEP, TIMEOUT = 23, 5
#: The launcher notices a dead process at once; one that does not answer it kills after 30 seconds.
LAUNCHERS_PATIENCE = 30


def train(run: Path) -> subprocess.Popen[str]:
    words = (
        "train",
        RECIPE,
        "--run.out",
        run,
        "--resume",
        "--run.max-steps",
        LAST_STEP,
        "--run.timeout-s",
        TIMEOUT,
    )
    return start(*TORCHRUN, "-m", "spikedriven", *map(str, words))


def worker(launcher: int, rank: int) -> int:
    """Process number of one worker of a running torchrun."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    (found,) = [
        int(c)
        for c in children
        if f"RANK={rank}" in Path(f"/proc/{c}/environ").read_text().split("\0")
    ]
    return found


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    log, deadline = run / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and f'"train", "step": {step},' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, (
            f"step {step} was not reached"
        )
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("rank", "number", "limit", "message"),
    [
        pytest.param(
            1, signal.SIGKILL, 15, "process 0 of 2: another process", marks=pytest.mark.slow
        ),
        pytest.param(
            0, signal.SIGKILL, 15, "process 1 of 2: another process", marks=pytest.mark.slow
        ),
        pytest.param(
            1,
            signal.SIGSTOP,
            TIMEOUT + LAUNCHERS_PATIENCE + 15,
            "Timed out",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["first-survives", "second-survives", "one-does-not-answer"],
)
def test_the_others_stop_and_the_run_goes_on(
    rank: int, number: signal.Signals, limit: int, message: str, tmp_path: Path
) -> None:
    finish(train(tmp_path / "whole"))
    run = tmp_path / "run"
    launcher = train(run)
    wait_for_step(run, 7, launcher)
    os.kill(worker(launcher.pid, rank), number)
    begun = time.monotonic()
    output = finish(launcher, status=1)
    assert time.monotonic() - begun < limit
    assert message in output and "start all processes again with --resume" in output
    assert output.count("Traceback") == 1, (
        "torchrun's own; the process that is left gives one message"
    )
    finish(train(run))
    name = f"checkpoints/step_{LAST_STEP:08d}"
    assert_same(read_checkpoint(run / name), read_checkpoint(tmp_path / "whole" / name))


def test_other_errors_are_left_alone() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes") as caught,
        _explain_lost_process(World(0, 2, ALONE.device)),
    ):
        raise RuntimeError("shapes do not fit")
    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(value: float) -> None:
    with pytest.raises(RecipeError, match=r"run\.timeout_s"):
        RunConfig(timeout_s=value)
