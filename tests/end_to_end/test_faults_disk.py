"""A disk that is full, and a run folder that cannot be written.

On real small file systems in memory, which a script mounts in a name space of its own; and, to the
file, by letting the operating system refuse from some moment on.
"""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from spikedriven.errors import CheckpointError
from spikedriven.runs.checkpoint import CheckpointStore
from spikedriven.runs.log import RunLog
from spikedriven.tasks import TASKS
from tests.end_to_end.forked import counting_changes, in_child, toy_run
from tests.end_to_end.processes import ROOT, finish, start
from tests.end_to_end.test_faults_kill import assert_same, last, spread, steps_done, whole  # noqa: F401 (a fixture)
from tests.training.toys import ToyTask

RECIPE = Path(__file__).parent / "tiny.yaml"
#: Checkpoints (180 KiB each) of steps 5, 10 and 12 (an epoch's last) fit, then no more.
SMALL, LARGE = "700k", "8m"
PRIVATE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """Whether this user may mount something in a name space of its own (root may; containers
    may forbid it).
    """
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            [*PRIVATE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
        ).returncode
        == 0
    )


needs_mount = pytest.mark.skipif(
    not may_mount(), reason="mounting needs user name spaces; the other test does not"
)


@pytest.fixture(autouse=True)
def toy_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", ToyTask)


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands where $DISK may be mounted over, with `train` and a folder $OUT that
    stays.
    """
    (folder / "disk").mkdir()
    (folder / "out").mkdir()
    words = (
        f'train() {{ "$PYTHON" -m spikedriven train "{RECIPE}" --run.out "$DISK/run" --run.keep 9 '
        f'"$@"; }}\n'
    )
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}",
        "PYTHON": os.sys.executable,
        "DISK": str(folder / "disk"),
        "OUT": str(folder / "out"),
    }
    return subprocess.run(
        [*PRIVATE, "bash", "-euc", words + text],
        env=environment,
        text=True,
        capture_output=True,
        timeout=180,
    )


@needs_mount
@pytest.mark.slow
def test_a_full_small_disk(tmp_path: Path) -> None:
    done = script(tmp_path, f"""
        mount -t tmpfs -o size={SMALL} none $DISK
        train --run.max-steps 23 2> $OUT/errors && exit 1
        ls -A $DISK/run/checkpoints > $OUT/kept
        cp -r $DISK/run $OUT/full
        mount -o remount,size={LARGE} $DISK
        train --run.max-steps 23 --resume
        cp -r $DISK/run $OUT/run
    """)  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = (tmp_path / "out" / "errors").read_text()
    (message,) = [line for line in errors.splitlines() if line and not line.startswith("epoch")]
    assert "No space left on device" in message and "Earlier checkpoints are intact" in message
    assert (tmp_path / "out" / "kept").read_text().split() == [
        "step_00000005",
        "step_00000010",
        "step_00000012",
    ]
    found = CheckpointStore(tmp_path / "out" / "full").newest()
    assert found is not None and found[0].name == "step_00000012"
    finish(
        start(
            "-m",
            "spikedriven",
            "train",
            RECIPE,
            "--run.out",
            tmp_path / "whole",
            "--run.max-steps",
            "23",
        )
    )
    name = "checkpoints/step_00000023/model.safetensors"
    weights = [
        safetensors.torch.load_file(run / name)
        for run in (tmp_path / "out" / "run", tmp_path / "whole")
    ]
    assert [key for key in weights[0] if not torch.equal(weights[0][key], weights[1][key])] == []


@needs_mount
@pytest.mark.slow
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    """A clear error before the first step, both for a new run and for one that is to go on."""
    done = script(tmp_path, """
        mount -t tmpfs none $DISK
        mkdir -p $DISK/run
        mount -o remount,ro $DISK
        train 2> $OUT/new && exit 1
        mount -o remount,rw $DISK
        train --run.max-steps 2
        mount -o remount,ro $DISK
        train --resume 2> $OUT/resumed && exit 1
        exit 0
    """)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("new", "resumed"):
        (message,) = (tmp_path / "out" / name).read_text().splitlines()
        assert "Read-only file system" in message and "--run.out" in message


@pytest.mark.parametrize("moments", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_full_from_any_file_on(moments: int, whole: Path, tmp_path: Path) -> None:  # noqa: F811
    changes = json.loads((whole.parent / "counts").read_text())["changes"]
    for number in spread(moments, changes):
        run = tmp_path / f"{number}"
        assert in_child(lambda run=run, number=number: _meets_a_full_disk(run, number)) == 0
        found = CheckpointStore(run).newest()
        assert steps_done(run) - (0 if found is None else found[1].state["counters"]["step"]) <= 4
        assert in_child(lambda run=run: toy_run(run)) == 0
        assert_same(last(run), last(whole))


def _meets_a_full_disk(run: Path, number: int) -> None:
    def full(count: int) -> None:
        if count >= number:
            raise OSError(errno.ENOSPC, "No space left on device")

    counting_changes(run, full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        toy_run(run)


def test_a_line_of_the_log_that_has_no_room_is_one_clear_error(tmp_path: Path) -> None:
    """Also when the file is closed, which tries again to write what is left."""
    log = RunLog(tmp_path, active=True, total_steps=1)
    log.file.close()
    log.file = open("/dev/full", "a", encoding="utf-8")  # noqa: PTH123, SIM115 (the log closes it)
    with pytest.raises(CheckpointError, match="No space left on device"), log.open():
        log.record("train", 1)
