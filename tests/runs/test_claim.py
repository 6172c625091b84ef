"""Two processes and one run folder; folders that are moved; runs that end before they have
begun.
"""

import os
from pathlib import Path

import pytest

from spikedriven.errors import CheckpointError
from spikedriven.runs.claim import LOCK, Claim
from tests.runs.holding import holding


def test_a_second_process_is_refused_and_told_which_one_is_first(tmp_path: Path):
    with holding(tmp_path / "run") as first:
        with pytest.raises(
            CheckpointError, match=f"process {first.pid} on .* is training in this folder"
        ):
            Claim(tmp_path / "run").take()
        assert f"process {first.pid}" in (tmp_path / "run" / LOCK).read_text(), (
            "of the first one still"
        )
    Claim(tmp_path / "run").take()  # a killed process holds nothing


def test_the_folder_is_free_again_afterwards(tmp_path: Path):
    claim = Claim(tmp_path / "run")
    claim.take()
    claim.take()
    claim.close()
    claim.close()
    with holding(tmp_path / "run"):
        pass


def test_a_forked_process_keeps_nothing(tmp_path: Path):
    """As loading processes, which may outlive a killed run for a moment."""
    claim = Claim(tmp_path / "run")
    claim.take()
    go, end = os.pipe()
    child = os.fork()
    if not child:
        os.read(go, 1)
        os._exit(0)
    claim.close()
    try:
        with holding(tmp_path / "run"):
            pass
    finally:
        os.write(end, b"x")
        os.waitpid(child, 0)
        os.close(go)
        os.close(end)


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_folder_that_is_no_longer_this_runs_is_noticed(tmp_path: Path, how: str):
    run, claim = tmp_path / "run", Claim(tmp_path / "run")
    claim.take()
    claim.check()
    run.rename(tmp_path / "elsewhere")
    if how == "removed":
        (tmp_path / "elsewhere" / LOCK).unlink()
        (tmp_path / "elsewhere").rmdir()
    if how == "replaced":
        run.mkdir()
    with pytest.raises(
        CheckpointError, match="was moved or removed while it was training; nothing more is written"
    ):
        claim.check()
