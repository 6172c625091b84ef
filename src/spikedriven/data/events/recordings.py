"""Event sets whose samples are recordings in files: framed, and kept on disk as frames."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from spikedriven.data.events.cache import FrameCache, file_stamp
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.events import Events, empty_events, join
from spikedriven.data.events.files import stream_events
from spikedriven.data.events.framing import to_frames
from spikedriven.errors import DataError

CACHE_FOLDER = "spikedriven-frames"
EVER = 1 << 62
SIDE = 128  # of the DVS128, with which all sets of this kind were recorded


@dataclass(frozen=True)
class Recording:
    """A sample: the events of a file with start <= t < stop (microseconds), by default all of them."""

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
    """Recordings of a data set, framed as `cfg` says. folder: the data folder, where the frames are kept."""

    def __init__(
        self, cfg: EventDataConfig, folder: Path, samples: Sequence[Recording], targets: np.ndarray,
        classes: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(cfg, targets, classes)
        self.folder, self.samples = folder, tuple(samples)
        settings = {
            name: getattr(cfg, name)
            for name in ("dataset", "time_steps", "split_by", "step_us", "values")
        }
        self.cache = (
            FrameCache(cfg.cache_dir or folder / CACHE_FOLDER, settings) if cfg.cache else None
        )

    def frames(self, index: int, draws: np.random.Generator | None = None) -> torch.Tensor:
        sample = self.samples[index]
        found = None if self.cache is None else self.cache.load(sample.file, _part(sample))
        return torch.from_numpy(self._decode(sample) if found is None else found)

    def where(self, index: int) -> str:
        return str(self.samples[index])

    def subset(self, indices: np.ndarray) -> Self:
        chosen = [self.samples[i] for i in indices]
        return type(self)(self.cfg, self.folder, chosen, self.targets[indices], self.classes)

    def _decode(self, wanted: Recording) -> np.ndarray:
        """Frames of one sample. With a cache the other samples of its file are made and kept on the way: a file of
        DVS128 Gesture holds about twelve, one after the other."""
        alone = self.cache is None or wanted.stop == EVER
        siblings = (
            [wanted] if alone else [other for other in self.samples if other.file == wanted.file]
        )
        stamp = file_stamp(wanted.file)
        result = None
        try:
            for sample, events in cut(
                stream_events(wanted.file, height=SIDE, width=SIDE), siblings
            ):
                if not len(events):
                    continue  # an error when its own turn comes
                frames = to_frames(events, self.cfg)
                if self.cache is not None:
                    self.cache.store(sample.file, stamp, frames, _part(sample))
                result = frames if sample == wanted else result
        except DataError:
            if (
                result is None
            ):  # else the damage is behind this sample, and those behind it will name it
                raise
        if result is None:
            raise DataError(f"{wanted}: no events; restore the file, or take it out of the set")
        return result


def cut(
    parts: Iterable[Events], samples: Sequence[Recording]
) -> Iterator[tuple[Recording, Events]]:
    """Each sample's events, as soon as its time is over; memory holds the samples that are not over yet."""
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
    """The first of data_folder/NAME, its sub-folder extract/, and the data folder itself that contains `sign`."""
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
    """(file and line number, text) of the lines that are not empty. DataError when the file is no text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a text file: {error}") from error
    lines = enumerate(text.splitlines(), start=1)
    return [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]
