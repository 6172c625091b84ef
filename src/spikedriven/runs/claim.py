"""One process trains in a run folder: it holds a lock there, and notices when the folder is no
longer its own.
"""

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import IO

from spikedriven.errors import CheckpointError
from spikedriven.files import explain_os_errors

_log = logging.getLogger(__name__)
LOCK = ".lock"
#: File systems that lock nothing answer with one of these.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class Claim:
    """A run folder taken for this process, until `close` or the end of the process, however it
    comes.

    The lock is one of POSIX: it belongs to the process and not to those that it forks, so that
    loading processes that outlive it for a moment do not keep the folder from whoever resumes.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._file: IO[str] | None = None
        self._place: tuple[int, int] | None = None

    def take(self) -> None:
        """Make the folder and lock it. CheckpointError where another process has it, or it
        cannot be written.
        """
        if self._file is not None:
            return
        with explain_os_errors(self.run):
            self.run.mkdir(parents=True, exist_ok=True)
            file = (self.run / LOCK).open("a+", encoding="utf-8")
        self._lock(file)
        with explain_os_errors(self.run):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        self._file, self._place = file, _place(self.run)

    def _lock(self, file: IO[str]) -> None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                _log.warning(
                    "%s: this file system has no locks; start no second process in the folder",
                    self.run,
                )
                return
            file.seek(0)
            owner = file.read(200).strip() or "another process"
            file.close()
            raise CheckpointError(
                f"{self.run}: {owner} is training in this folder. Wait for it to end (then "
                "--resume continues "
                "it), stop it, or name another folder with --run.out"
            ) from error

    def check(self) -> None:
        """CheckpointError where the folder was renamed, removed or replaced since it was taken."""
        if self._place is not None and _place(self.run) != self._place:
            raise CheckpointError(
                f"{self.run}: this run's folder was moved or removed while it was training; "
                "nothing more is written. "
                "Move it back (or go where it is now) and continue with --resume from its last "
                "checkpoint"
            )

    def close(self) -> None:
        """Give the folder back; may be called more than once."""
        if self._file is not None:
            self._file.close()
        self._file = self._place = None

    def __del__(self) -> None:
        self.close()


def _place(folder: Path) -> tuple[int, int] | None:
    try:
        state = folder.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
