"""Checkpoints are whole or absent, damage is noticed, earlier ones survive a failed write."""

import json
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from spikedriven.errors import CheckpointError
from spikedriven.runs.checkpoint import Checkpoint, CheckpointStore, read_checkpoint


def checkpoint(value: float) -> Checkpoint:
    weights = {"a.weight": torch.full((2, 3), value), "a.steps": torch.tensor(int(value))}
    return Checkpoint(
        weights,
        {"a.weight": torch.full((2, 3), -value)},
        {"counters": {"step": int(value)}, "x": [1, "y"]},
    )


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Every write beyond `size` bytes fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_round_trip(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save(3, checkpoint(3.0))
    read = read_checkpoint(path)
    assert (
        torch.equal(read.model["a.weight"], torch.full((2, 3), 3.0))
        and read.model["a.steps"].item() == 3
    )
    assert read.ema is not None and torch.equal(read.ema["a.weight"], torch.full((2, 3), -3.0))
    assert read.state == {"counters": {"step": 3}, "x": [1, "y"]}


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 7):
        store.save(step, checkpoint(step))
        if step == 2:
            store.mark_best(2, "top1", 50.0)
    assert [path.name for path in store.paths()] == [
        "step_00000006",
        "step_00000005",
        "step_00000002",
    ]
    assert store.best() == tmp_path / "checkpoints" / "step_00000002"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "state.pt", "ema.safetensors", "manifest.json"]
)
def test_a_damaged_newest_one_falls_back_with_a_warning(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, checkpoint(1.0))
    damage(store.save(2, checkpoint(2.0)) / name)
    found = store.newest()
    assert found is not None and found[0].name == "step_00000001"
    assert "step_00000002" in caplog.text and "falling back" in caplog.text


def test_all_damaged_is_an_error_that_lists_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        (store.save(step, checkpoint(step)) / "state.pt").unlink()
    with pytest.raises(CheckpointError, match=r"(?s)step_00000002.*step_00000001"):
        store.newest()


def test_an_unfinished_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (tmp_path / "checkpoints" / ".step_00000009.tmp").mkdir(parents=True)
    assert store.newest() is None
    store.save(9, checkpoint(9.0))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000009"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, checkpoint(1.0))
    assert read_checkpoint(store.save(1, checkpoint(1.0))).state["counters"] == {"step": 1}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_a_kill_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, checkpoint(1.0))
    original, calls = Path.replace, []

    def dies_at_the_second(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        store.save(1, checkpoint(7.0))
    monkeypatch.undo()
    found = CheckpointStore(tmp_path).newest()
    assert found is not None and found[1].state["counters"] == {"step": 1}


def test_a_pickle_with_code_in_it_is_refused(tmp_path: Path) -> None:
    import zlib

    class Hostile:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "owned",)

    folder = CheckpointStore(tmp_path).save(1, checkpoint(1.0))
    data = pickle.dumps(Hostile())
    (folder / "state.pt").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["state.pt"] = {"bytes": len(data), "crc32": zlib.crc32(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(folder)
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_leaves_earlier_checkpoints_intact(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(1, checkpoint(1.0))
    with (
        file_size_limit(100),
        pytest.raises(CheckpointError, match=r"Earlier checkpoints are intact.*--run.out"),
    ):
        store.save(2, checkpoint(2.0))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]
    assert read_checkpoint(store.paths()[0]).state["counters"] == {"step": 1}
    store.save(2, checkpoint(2.0))
    assert [path.name for path in store.paths()] == ["step_00000002"]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="cannot be written"):
        CheckpointStore(tmp_path).save(1, checkpoint(1.0))


def test_a_folder_without_its_manifest_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, checkpoint(1.0))
    (store.save(2, checkpoint(2.0)) / "manifest.json").unlink()
    found = store.newest()
    assert found is not None and found[0].name == "step_00000001"
    assert (
        "step_00000002: the checkpoint cannot be read" in caplog.text
        and "falling back" in caplog.text
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"step": "x"}', '{"step": null}'])
def test_a_damaged_mark_of_the_best_stops_before_anything_is_deleted(
    content: str, tmp_path: Path
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, checkpoint(1.0))
    (tmp_path / "checkpoints" / "best.json").write_text(content)
    for ask in (store.best, store.newest, lambda: store.save(2, checkpoint(2.0))):
        with pytest.raises(CheckpointError, match=r"best\.json: cannot be read.*delete the file"):
            ask()
    assert [path.name for path in store.paths()] == ["step_00000002", "step_00000001"]


def test_two_processes_may_bring_a_checkpoint_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see that it stands aside; the second finds it gone when it wants to rename it."""
    store = CheckpointStore(tmp_path)
    target = store.save(1, checkpoint(1.0))
    aside = target.replace(target.with_name(f".{target.name}.aside"))
    original = Path.replace

    def the_other_was_faster(self: Path, target: Path) -> Path:
        if self == aside:
            original(self, target)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", the_other_was_faster)
    found = store.newest()
    assert found is not None and found[0] == target
