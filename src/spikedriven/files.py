"""Files that are either whole or not there: written under a temporary name, forced to the disk,
then renamed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikedriven.errors import CheckpointError, InputError


def cache_folder() -> Path:
    """Where what can be made or fetched again is kept.

    The folder in the variable SPIKEDRIVEN_CACHE, else ``spikedriven`` in XDG_CACHE_HOME, else in
    ~/.cache.
    """
    own = os.environ.get("SPIKEDRIVEN_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "spikedriven"


def change_stamp(state: os.stat_result) -> list[int]:
    """What differs as soon as a file's content was changed, or another file took its place.

    Size and modification time alone do not: tools that copy keep the time. The last number is the
    time (ns) at which the system itself last changed anything about the file.
    """
    return [state.st_size, state.st_mtime_ns, state.st_ino, state.st_ctime_ns]


def write_atomic(path: Path, data: bytes) -> None:
    """`path` holds `data` afterwards, or what it held before. CheckpointError when it cannot be
    written.
    """
    with explain_os_errors(path):
        replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """`path` holds `data` afterwards, or what it held before; several processes may do this at
    the same time.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_durable(temporary, data)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_durable(path: Path, data: bytes) -> None:
    """Write a new file and force it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk (a rename is not durable before that)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, option: str = "--out") -> Path:
    """For a file that a command writes for a person: folders are made; InputError where it cannot
    be written.

    option: of the command that names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path}: cannot be written ({reason}); name another file with {option}"
        ) from error
    return path


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into a CheckpointError that says what to do."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}). Earlier checkpoints "
            "are intact. Free disk space or choose a folder that can be written with --run.out, "
            "then use --resume"
        ) from error
