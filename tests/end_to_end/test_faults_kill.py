"""kill -9 at seeded random moments of a toy run, to the line: it resumes, loses no more than the
interval between two checkpoints, and ends with the bits of a run that nobody disturbed.

Real runs of the command line, killed by the clock, are in test_kill_resume.
"""

import dataclasses
import json
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from spikedriven.runs.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from spikedriven.runs.claim import LOCK
from spikedriven.tasks import TASKS
from tests.end_to_end.forked import counting_changes, counting_lines, in_child, kill_at, toy_run
from tests.runs.test_checkpoint import checkpoint
from tests.training.toys import ToyTask

INTERVAL, LAST_STEP = 4, 18
MOMENTS = pytest.mark.parametrize("moments", [6, pytest.param(20, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def toy_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", ToyTask)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run, with its numbers of lines and of file changes in `counts`."""
    run = tmp_path_factory.mktemp("whole") / "run"
    TASKS["toy"] = ToyTask
    try:
        assert in_child(lambda: _counted(run)) == 0
    finally:
        del TASKS["toy"]
    return run


def _counted(run: Path) -> None:
    counts = {}
    counting_lines(lambda count: counts.update(lines=count))
    counting_changes(run, lambda count: counts.update(changes=count))
    toy_run(run)
    counting_lines(lambda count: None)
    (run.parent / "counts").write_text(json.dumps(counts))


def last(run: Path) -> Checkpoint:
    return read_checkpoint(run / "checkpoints" / f"step_{LAST_STEP:08d}")


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    """Equal bits of weights, average, moments and counters, wherever the log was."""
    for one in (a, b):
        del one.state["log_position"]  # lines hold times and speeds
    assert flat(dataclasses.asdict(a)) == flat(dataclasses.asdict(b))


def flat(value: object) -> object:
    """Tensors as bytes, so that == compares everything."""
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [flat(item) for item in value]
    return (
        (value.dtype, value.shape, value.numpy().tobytes())
        if isinstance(value, torch.Tensor)
        else value
    )


def steps_done(run: Path) -> int:
    log = run / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return max((line["step"] for line in lines if line["kind"] == "train"), default=0)


def kill_and_resume(run: Path, whole: Path, arm: Callable[[], None]) -> None:
    """One life that ends by SIGKILL, then one to the end."""
    assert in_child(lambda: (arm(), toy_run(run))) == signal.SIGKILL
    done = steps_done(run)
    found = CheckpointStore(
        run
    ).newest()  # reads it whole; a torn one would be passed over with a warning
    kept = 0 if found is None else found[1].state["counters"]["step"]
    assert done - kept <= INTERVAL
    assert in_child(lambda: toy_run(run)) == 0
    assert_same(last(run), last(whole))
    text = (run / "log.jsonl").read_text()
    assert [text.count(f'"train", "step": {step},') for step in range(1, LAST_STEP + 1)] == [
        1
    ] * LAST_STEP
    assert [path.name for path in run.rglob(".*")] == [LOCK]  # nothing half written was left behind


def spread(moments: int, total: int) -> list[int]:
    """One random number out of each of so many equal parts of 1..total."""
    draws, borders = (
        random.Random(moments),
        [1 + total * part // moments for part in range(moments + 1)],
    )
    return [draws.randrange(first, after) for first, after in pairwise(borders)]


@MOMENTS
def test_killed_before_any_line(
    moments: int, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = json.loads((whole.parent / "counts").read_text())["lines"]
    for number in spread(moments, lines):
        kill_and_resume(
            tmp_path / f"{number}", whole, lambda number=number: counting_lines(kill_at(number))
        )
    assert caplog.messages == []  # no checkpoint was ever torn


@MOMENTS
def test_killed_while_files_are_written(
    moments: int, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before opening, renaming or removing any file of the run folder: nearly all of these are
    in a checkpoint.
    """
    changes = json.loads((whole.parent / "counts").read_text())["changes"]
    assert changes > 60
    for number in spread(moments, changes):
        run = tmp_path / f"{number}"
        kill_and_resume(
            run, whole, lambda run=run, number=number: counting_changes(run, kill_at(number))
        )
    assert caplog.messages == []


@MOMENTS
def test_one_run_killed_again_and_again(moments: int, whole: Path, tmp_path: Path) -> None:
    """What was left lying about by one death must not disturb the next life."""
    lines = json.loads((whole.parent / "counts").read_text())["lines"]
    draws, run = random.Random(moments), tmp_path / "run"
    for _ in range(moments):
        moment = draws.randrange(1, lines)
        in_child(lambda moment=moment: (counting_lines(kill_at(moment)), toy_run(run)))
    assert in_child(lambda: toy_run(run)) == 0
    assert_same(last(run), last(whole))


def test_a_file_cut_off_by_a_crash_of_the_machine(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What fsync should prevent, and a broken disk may do anyway: the newest checkpoint has
    lost its tail.
    """
    run = tmp_path / "run"
    assert in_child(lambda: toy_run(run, max_steps=10, keep=2)) == 0
    newest, before = CheckpointStore(run).paths()[:2]
    data = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(data[: len(data) // 2])
    found = CheckpointStore(run).newest()
    assert found is not None and found[0] == before
    assert (
        "step_00000010/model.safetensors: damaged" in caplog.text and "falling back" in caplog.text
    )
    assert in_child(lambda: toy_run(run)) == 0
    assert_same(last(run), last(whole))


def test_what_is_saved_after_a_fall_back_is_kept(tmp_path: Path) -> None:
    """A damaged checkpoint of a later step is not counted as the newest: with keep=1 it would
    displace all others.
    """
    store = CheckpointStore(tmp_path, keep=1)
    for step in (4, 8):
        store.save(step, checkpoint(step))
    store.save(12, checkpoint(12.0))
    (tmp_path / "checkpoints" / "step_00000012" / "state.pt").write_bytes(b"")
    store.save(6, checkpoint(6.0))
    found = store.newest()
    assert found is not None and found[0].name == "step_00000006"
