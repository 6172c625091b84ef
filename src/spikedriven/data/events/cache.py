"""Frames on disk, so that a recording is decoded once and not in every epoch."""

import hashlib
import io
import json
import logging
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.events.npz import BAD_HEADER
from spikedriven.errors import DataError

_log = logging.getLogger(__name__)
#: Part of every key: raise it when the same settings come to mean other frames.
VERSION = 1
_UNREADABLE = (
    *BAD_HEADER,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


class FrameCache:
    """One file per recording (or part of one) and settings, below `folder`.

    An entry is used only while size and modification time of its source are what they were; one that cannot be read
    is made again, with a warning. Entries appear whole or not at all, whoever else writes them at the same time.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def load(self, source: Path, part: str = "") -> np.ndarray | None:
        """float32 frames of `source` as stored, or None if there are none that still hold."""
        path = self._path(source, part)
        if not path.is_file():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                stamp, frames = archive["stamp"], archive["frames"]
        except _UNREADABLE as error:
            _log.warning("%s: damaged entry of the frame cache (%s); it is made again", path, error)
            return None
        return frames.astype(np.float32) if stamp.tolist() == file_stamp(source) else None

    def store(self, source: Path, stamp: list[int], frames: np.ndarray, part: str = "") -> None:
        """Keep float32 frames of whole numbers, which were made when the source's `file_stamp` was `stamp`.
        DataError when they cannot be written."""
        from spikedriven.training.files import (
            replace_file,
        )  # the training package reads recipes, and they name data

        path, buffer = self._path(source, part), io.BytesIO()
        kind = next(
            (k for k in (np.uint8, np.uint16) if frames.max(initial=0) <= np.iinfo(k).max),
            np.float32,
        )
        np.savez_compressed(buffer, stamp=np.array(stamp), frames=frames.astype(kind))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, buffer.getvalue())
        except OSError as error:
            raise DataError(
                f"{path}: the frame cache cannot be written ({error.strerror or error}); free disk space, choose "
                "another folder with data.cache_dir, or switch it off with data.cache False"
            ) from error

    def _path(self, source: Path, part: str) -> Path:
        key = json.dumps([VERSION, self.settings, str(source.absolute()), part], sort_keys=True)
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npz"


def file_stamp(source: Path) -> list[int]:
    """Size and modification time (ns): what changes when the file does. DataError when there is none."""
    try:
        status = source.stat()
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from error
    return [status.st_size, status.st_mtime_ns]
