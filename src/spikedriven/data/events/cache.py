"""Frames on disk, so that a recording is decoded once and not in every epoch."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikedriven.data.archives import read_archive
from spikedriven.errors import DataError
from spikedriven.files import change_stamp, replace_file

_log = logging.getLogger(__name__)
#: Part of every key: raise it when the same settings come to mean other frames.
VERSION = 1
#: Of the frames of a recording, bytes.
_MOST_BYTES = 1 << 32


class FrameCache:
    """One file per recording (or part of one) and settings, below the first of the folders `places`
    that can be written. Where none can, a warning says so and nothing is kept; a single one is the
    user's own choice, and an error.

    An entry is used only while its source is the file that it was; one that cannot be read
    is made again, with a warning. Entries appear whole or not at all, whoever else writes them at
    the same time.
    """

    def __init__(self, places: Sequence[Path], settings: dict[str, Any]) -> None:
        self.places, self.settings = tuple(places), settings
        self.useless = False

    def load(self, source: Path, part: str = "") -> np.ndarray | None:
        """float32 frames of `source` as stored, or None if there are none that still hold."""
        found = (self._load(path, source) for path in self._paths(source, part) if path.is_file())
        return next((frames for frames in found if frames is not None), None)

    def _load(self, path: Path, source: Path) -> np.ndarray | None:
        try:
            archive = read_archive(path, _MOST_BYTES)
            stamp, frames = archive["stamp"], archive["frames"]
        except (OSError, ValueError, KeyError) as error:
            _log.warning("%s: damaged entry of the frame cache (%s); it is made again", path, error)
            return None
        return frames.astype(np.float32) if stamp.tolist() == file_stamp(source) else None

    def store(self, source: Path, stamp: list[int], frames: np.ndarray, part: str = "") -> None:
        """Keep float32 frames of whole numbers, which were made when the source's `file_stamp` was
        `stamp`. DataError when they cannot be written where the user wants them.
        """
        if self.useless:
            return
        buffer = io.BytesIO()
        kind = next(
            (k for k in (np.uint8, np.uint16) if frames.max(initial=0) <= np.iinfo(k).max),
            np.float32,
        )
        np.savez_compressed(buffer, stamp=np.array(stamp), frames=frames.astype(kind))
        problems = []
        for path in self._paths(source, part):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, buffer.getvalue())
                return
            except OSError as error:
                problems.append(
                    f"{path}: the frame cache cannot be written ({error.strerror or error})"
                )
        self._give_up("; ".join(problems))

    def _give_up(self, problem: str) -> None:
        advice = (
            "free disk space, choose another folder with --data.cache-dir, or take --data.cache "
            "false"
        )
        if len(self.places) == 1:
            raise DataError(f"{problem}; {advice}")
        self.useless = True
        _log.warning("%s. Every epoch decodes the recordings again; %s", problem, advice)

    def _paths(self, source: Path, part: str) -> list[Path]:
        key = json.dumps([VERSION, self.settings, str(source.absolute()), part], sort_keys=True)
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return [folder / name[:2] / f"{name}.npz" for folder in self.places]


def file_stamp(source: Path) -> list[int]:
    """What changes when the file does; see `files.change_stamp`. DataError when there is none."""
    try:
        status = source.stat()
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from error
    return change_stamp(status)
