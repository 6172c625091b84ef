"""A run that is killed and continued ends with the bits of one that was not."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from spikedriven.runs.checkpoint import CheckpointStore
from tests.end_to_end.processes import finish, start

RECIPE = Path(__file__).parent / "tiny.yaml"
LAST_STEP = 47


def train(run: Path, *words: str, group: bool = False):
    return start(
        "-m", "spikedriven", "train", RECIPE, "--run.out", run, "--resume", *words, group=group
    )


def kill_after(run: Path, step: int, number: signal.Signals, status: int, workers: int = 0) -> str:
    """Start or continue the run, and send it, and its workers if it has any, a signal once its
    log shows `step`.
    """
    process = train(run, "--data.workers", str(workers), group=workers > 0)
    log, wanted = run / "log.jsonl", f'"train", "step": {step},'
    deadline = time.monotonic() + 120
    while not (log.exists() and wanted in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, (
            f"step {step} was not reached"
        )
        time.sleep(0.002)
    if workers:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return finish(process, status)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(train(run))
    return run


def assert_same_end(run: Path, whole: Path) -> None:
    folder = f"checkpoints/step_{LAST_STEP:08d}"
    for name in ("model.safetensors", "ema.safetensors"):
        expected, found = (
            safetensors.torch.load_file(which / folder / name) for which in (whole, run)
        )
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    a, b = (torch.load(which / folder / "state.pt", weights_only=True) for which in (whole, run))
    assert a["counters"] == b["counters"]
    moments = [
        (x[key], y[key])
        for x, y in zip(
            a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True
        )
        for key in x
    ]
    assert moments and all(torch.equal(x, y) for x, y in moments)
    lines = (run / "log.jsonl").read_text().splitlines()
    steps = [line for line in lines if '"kind": "train"' in line]
    assert len(steps) == LAST_STEP


def test_kill_9_then_sigterm(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_after(run, 7, signal.SIGKILL, -signal.SIGKILL)
    output = kill_after(run, 16, signal.SIGTERM, 143)
    assert "checkpoint written" in output and "--resume" in output
    finish(train(run))
    assert_same_end(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_every_process_of_the_job_is_told_to_stop(
    number: signal.Signals, status: int, whole: Path, tmp_path: Path
) -> None:
    """As batch systems and terminals do it: the workers leave it to the main process, which
    writes a checkpoint.
    """
    output = kill_after(tmp_path / "run", 30, number, status, workers=2)
    assert "checkpoint written" in output and "Traceback" not in output
    finish(train(tmp_path / "run"))
    assert_same_end(tmp_path / "run", whole)


@pytest.mark.slow
def test_ctrl_c(whole: Path, tmp_path: Path) -> None:
    assert "checkpoint written" in kill_after(tmp_path / "run", 30, signal.SIGINT, 130)
    finish(train(tmp_path / "run"))
    assert_same_end(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 5, 12, 13, 24, 44])
def test_kill_9_anywhere(step: int, whole: Path, tmp_path: Path) -> None:
    kill_after(tmp_path / "run", step, signal.SIGKILL, -signal.SIGKILL)
    finish(train(tmp_path / "run"))
    assert_same_end(tmp_path / "run", whole)


@pytest.mark.slow
def test_kill_9_twenty_times(whole: Path, tmp_path: Path) -> None:
    """One run, killed at twenty random moments by the clock; most lives are too short to write
    a checkpoint.
    """
    run, draws = tmp_path / "run", random.Random(0)
    for _ in range(20):
        begin, log_before = newest_step(run), inode(run / "log.jsonl")
        process, deadline = train(run), time.monotonic() + 120
        wanted = min(begin + draws.randrange(7), LAST_STEP - 2)
        while (
            inode(run / "log.jsonl") == log_before or steps_in(run) < wanted
        ):  # each life begins with a new log
            assert process.poll() is None and time.monotonic() < deadline, "the run does not go on"
            time.sleep(0.002)
        time.sleep(draws.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        finish(process, -signal.SIGKILL)
        assert steps_in(run) - newest_step(run) <= 5
    assert newest_step(run) >= 10, "hardly a life came further than the one before"
    finish(train(run))
    assert_same_end(run, whole)


def inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


def steps_in(run: Path) -> int:
    log = run / "log.jsonl"
    return max(
        map(int, re.findall(r'"train", "step": (\d+),', log.read_text() if log.exists() else "")),
        default=0,
    )


def newest_step(run: Path) -> int:
    found = CheckpointStore(run).newest()
    return 0 if found is None else found[1].state["counters"]["step"]
