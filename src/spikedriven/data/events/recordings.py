"""Event sets whose samples are recordings in files: framed, and kept on disk as frames."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from spikedriven.data.events.cache import FrameCache, file_stamp
from spikedriven.data.events.config import FramedEventConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.events import Events, empty_events, join
from spikedriven.data.events.files import bounded, stream_events
from spikedriven.data.events.framing import to_frames
from spikedriven.errors import DataError, InputError
from spikedriven.files import cache_folder

CACHE_FOLDER = "spikedriven-frames"
EVER = 1 << 62


@dataclass(frozen=True)
class Recording:
    """A sample: the events of a file with start <= t < stop (microseconds), by default all of
    them.
    """

    file: Path
    start: int = -EVER
    stop: int = EVER

    def __str__(self) -> str:
        return (
            str(self.file)
            if self.stop == EVER
            else f"{self.file}, {self.start} to {self.stop} microseconds"
        )


class RecordedEvents(EventDataset):
    """Recordings of a data set, framed as `cfg` says. folder: the data folder, where the frames
    are kept.
    """

    cfg: FramedEventConfig

    def __init__(
        self,
        cfg: FramedEventConfig,
        folder: Path,
        samples: Sequence[Recording],
        targets: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        super().__init__(cfg, targets, classes)
        self.folder, self.samples = folder, tuple(samples)
        settings = {
            name: getattr(cfg, name)
            for name in ("dataset", "time_steps", "split_by", "step_us", "values")
        }
        places = (
            (cfg.cache_dir,)
            if cfg.cache_dir
            else (folder / CACHE_FOLDER, cache_folder() / "frames")
        )
        self.cache = FrameCache(places, settings) if cfg.cache else None

    def frames(self, index: int, draws: np.random.Generator | None = None) -> torch.Tensor:
        sample = self.samples[index]
        found = None if self.cache is None else self.cache.load(sample.file, _part(sample))
        return torch.from_numpy(self._decode(sample) if found is None else found)

    def where(self, index: int) -> str:
        return str(self.samples[index])

    def identity(self) -> tuple[bytes, ...]:
        """The places of the recordings below the data folder, and the labels."""
        places = [
            f"{os.path.relpath(sample.file, self.folder)} {_part(sample)}"
            for sample in self.samples
        ]
        return ("\0".join(places).encode(), self.targets.tobytes())

    def events(self, index: int) -> Events:
        """The events of one recording. DataError when its file cannot be read."""
        sample = self.samples[index]
        ((_sample, events),) = cut(self._parts(sample.file), [sample])
        return events

    def subset(self, indices: np.ndarray) -> Self:
        chosen = [self.samples[i] for i in indices]
        return type(self)(self.cfg, self.folder, chosen, self.targets[indices], self.classes)

    def _decode(self, wanted: Recording) -> np.ndarray:
        """Frames of one sample. With a cache the other samples of its file are made and kept on the
        way: a file of DVS128 Gesture holds about twelve, one after the other.
        """
        alone = self.cache is None or wanted.stop == EVER
        siblings = (
            [wanted] if alone else [other for other in self.samples if other.file == wanted.file]
        )
        stamp = file_stamp(wanted.file)
        result = None
        try:
            for sample, events in cut(self._parts(wanted.file), siblings):
                if not len(events):
                    continue  # an error when its own turn comes
                frames = self._framed(sample, events, wanted)
                if frames is None:
                    continue
                if self.cache is not None:
                    self.cache.store(sample.file, stamp, frames, _part(sample))
                result = frames if sample == wanted else result
        except InputError as error:  # what only the user can say, such as the size of the sensor
            raise DataError(f"{error} (in a recipe: data.sensor, rows and columns)") from error
        except DataError:
            if (
                result is None
            ):  # else the damage is behind this sample, and those behind it will name it
                raise
        if result is None:
            raise DataError(f"{wanted}: no events; restore the file, or take it out of the set")
        return result

    def _parts(self, file: Path) -> Iterator[Events]:
        height, width = self.cfg.sensor_size()
        return bounded(file, stream_events(file, height=height, width=width))

    def _framed(self, sample: Recording, events: Events, wanted: Recording) -> np.ndarray | None:
        try:
            return to_frames(events, self.cfg)
        except DataError as error:
            if sample != wanted:
                return None
            raise DataError(f"{sample}: {error}") from error


def cut(
    parts: Iterable[Events], samples: Sequence[Recording]
) -> Iterator[tuple[Recording, Events]]:
    """Each sample's events, as soon as its time is over; memory holds the samples that are not
    over yet.
    """
    open_samples: dict[Recording, list[Events]] = {sample: [] for sample in samples}
    for part in parts:
        if not len(part):
            continue
        for sample, found in open_samples.items():
            found.append(part.between(sample.start, sample.stop))
        for sample in [sample for sample in open_samples if part.t[-1] >= sample.stop]:
            yield sample, join(open_samples.pop(sample))
        if not open_samples:
            return
    for sample, found in open_samples.items():
        yield sample, join(found) if found else empty_events(1, 1)


def _part(sample: Recording) -> str:
    return "" if sample.stop == EVER else f"{sample.start}-{sample.stop}"


def find_folder(data_folder: Path, names: Sequence[str], sign: str) -> Path | None:
    """The first of data_folder/NAME, its sub-folder extract/, and the data folder itself that
    contains `sign`.
    """
    for folder in (*(data_folder / name for name in names), data_folder):
        for inner in (
            folder,
            *(
                folder / name
                for name in ("extract", "events_np", "DvsGesture", "extract/DvsGesture")
            ),
        ):
            if (inner / sign).exists():
                return inner
    return None


def read_lines(path: Path) -> list[tuple[str, str]]:
    """(file and line number, text) of the lines that are not empty. DataError when the file is
    no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a text file: {error}") from error
    lines = enumerate(text.splitlines(), start=1)
    return [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]
