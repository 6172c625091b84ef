"""HAR-DVS: 300 actions seen by a DAVIS346, 346 x 260 pixels (Wang et al., arXiv 2211.09648), as
pictures of events.

Folder: train_label.txt and test_label.txt with lines "path number label", and below rawframes/ (or
the folder itself) the paths. Every sub-folder of a path is a sample, a path without sub-folders is
one itself: .png pictures, one per frame, in the order of their names (2 before 10).

A grey value g in 0..1 below 0.12 is an event of channel 0, one from 0.3 to 0.78 (the lower end
excluded) an event of channel 1; anything else is background. This is how the release of SDT-V3
reads the set (measured), its transform included: short side to img_size / 0.875 (bicubic), centre
crop, then the thresholds. What it does otherwise by accident is off by default:
`frame_order: directory`, `eval_window: random`, `flip_each_frame: true`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.recordings import find_folder, read_lines
from spikedriven.data.images import UNREADABLE, decode
from spikedriven.data.lookup import below
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import DataError

NAMES = ("har-dvs", "HARDVS", "HAR-DVS", "hardvs")
NUM_CLASSES = 300
LISTS = {"train": "train_label.txt", "test": "test_label.txt"}
DARK, BRIGHT, BACKGROUND = 0.12, 0.3, 0.78
CROP_SHARE = 0.875


@dataclass(frozen=True, kw_only=True)
class HarDvsConfig(EventDataConfig):
    """The data section of HAR-DVS, which comes as pictures."""

    frame_order: Literal["sorted", "directory"] = "sorted"
    """directory: the order of the file system, which is what the release reads."""
    eval_window: Literal["centre", "random"] = "centre"
    """Which T consecutive frames are evaluated. random: as the release, but drawn from the clip's
    number."""
    flip_each_frame: bool = False
    """Draw hflip anew for every frame of a clip, as the release does."""

    @property
    def one_flip_per_clip(self) -> bool:
        """As the field says."""
        return not self.flip_each_frame


def locate(data_folder: Path) -> Path | None:
    """The folder that holds the lists, if there is one."""
    return find_folder(data_folder, NAMES, LISTS["train"])


def open_set(cfg: HarDvsConfig, data_folder: Path, split: str) -> "HarDvs":
    """The clips of the "train" or "test" list. DataError names what is missing or wrong."""
    folder = locate(data_folder)
    if folder is None:
        raise DataError(
            f"har-dvs was not found: expected {data_folder / NAMES[0]}/{LISTS['train']} and "
            f"{LISTS['test']} with "
            "rawframes/ beside them; give the folder with root or the variable SPIKEDRIVEN_DATA"
        )
    frames = folder / "rawframes" if (folder / "rawframes").is_dir() else folder
    clips: list[Path] = []
    targets: list[int] = []
    for origin, text in read_lines(folder / LISTS[split]):
        path, label = _entry(origin, text)
        found = _clips(below(frames, path, origin), origin)
        clips += found
        targets += [label] * len(found)
    if not clips:
        raise DataError(f"{folder / LISTS[split]}: expected lines 'path number label', found none")
    return HarDvs(cfg, clips, np.array(targets, dtype=np.int64))


def _entry(origin: str, text: str) -> tuple[str, int]:
    words = text.rsplit(maxsplit=2)
    numbers = [
        word.isdecimal() and len(word) < 10 for word in words[1:]
    ]  # "\u00b2" is a digit, but no number
    if len(words) != 3 or not all(numbers) or int(words[2]) >= NUM_CLASSES:
        raise DataError(
            f"{origin}: expected 'path number label' with a label below {NUM_CLASSES}, found "
            f"{text!r}"
        )
    return words[0], int(words[2])


def _clips(path: Path, origin: str) -> list[Path]:
    if not path.is_dir():
        raise DataError(f"{origin}: {path} is missing; unpack rawframes again")
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) or [path]


class HarDvs(EventDataset):
    """Clips of HAR-DVS: T consecutive pictures of a folder; a folder with fewer is filled up with
    empty frames.

    In training the window is drawn anew each time; in evaluation it is the middle one, or with
    `eval_window: random` one that depends on the clip's number only. The frame cache is not used:
    the pictures are the frames.
    """

    cfg: HarDvsConfig

    def __init__(
        self,
        cfg: HarDvsConfig,
        clips: Sequence[Path],
        targets: np.ndarray,
        numbers: np.ndarray | None = None,
    ) -> None:
        super().__init__(cfg, targets, [f"action {label}" for label in range(NUM_CLASSES)])
        self.clips = tuple(clips)
        self.numbers = np.arange(len(clips)) if numbers is None else numbers

    def frames(self, index: int, draws: np.random.Generator | None = None) -> torch.Tensor:
        steps, side = self.cfg.time_steps, self.cfg.img_size
        pictures = self._pictures(index)
        spare = max(0, len(pictures) - steps)
        if draws is None and self.cfg.eval_window == "random":
            draws = np.random.default_rng(derive_seed("har-dvs window", int(self.numbers[index])))
        first = spare // 2 if draws is None else int(draws.integers(spare + 1))
        clip = torch.zeros(steps, 2, side, side)
        for step, path in enumerate(pictures[first : first + steps]):
            clip[step] = _to_events(_read(path), side)
        return clip

    def where(self, index: int) -> str:
        return str(self.clips[index])

    def subset(self, indices: np.ndarray) -> Self:
        chosen = [self.clips[i] for i in indices]
        return type(self)(self.cfg, chosen, self.targets[indices], self.numbers[indices])

    def _pictures(self, index: int) -> list[Path]:
        folder = self.clips[index]
        try:
            pictures = [path for path in folder.iterdir() if path.suffix.lower() == ".png"]
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error
        if not pictures:
            raise DataError(f"{folder}: expected .png pictures, found none")
        return sorted(pictures, key=_natural) if self.cfg.frame_order == "sorted" else pictures


def _natural(path: Path) -> list[int | str]:
    """Sort key in which the numbers of a name count as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _read(path: Path) -> Image.Image:
    try:
        return decode(path, "L")
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image ({error}); restore the file") from error


def _to_events(image: Image.Image, side: int) -> torch.Tensor:
    """float32 [2, side, side], 0 or 1."""
    resized = F.resize(image, [int(side / CROP_SHARE)], interpolation=InterpolationMode.BICUBIC)
    grey = F.pil_to_tensor(F.center_crop(resized, [side, side])).float().div(255)[0]
    return torch.stack([grey < DARK, (grey > BRIGHT) & (grey <= BACKGROUND)]).float()
