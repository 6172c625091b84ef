"""CIFAR10-DVS as frames in files of PyTorch, the set `cifar10-dvs-tet` of the SDT release.

Folder: {train,test}/N.pt with N = 0, 1, ... Each file is a pair: frames [2, H, W, T] and the label.
The two folders are the split. The files go back to "Temporal Efficient Training" (Deng et al., ICLR
2022, arXiv 2202.11946); SDT's README names the tree, and its loader says what a file holds. Files
are read as plain tensors, never unpickled.

The frames are what that loader makes of them (measured): it turns each step into an 8-bit picture
of two channels, which Pillow takes for grey and transparency. A value v becomes 255 v modulo 256,
resizing weights channel 0 by channel 1 (and so empties it where channel 1 is empty), and the result
is divided by 255.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from spikedriven.data.events.cifar10_dvs import CLASSES
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.events.dataset import EventDataset
from spikedriven.data.events.npz import LARGEST_SIDE
from spikedriven.data.events.recordings import find_folder
from spikedriven.errors import DataError

NAMES = ("cifar10-dvs-tet", "CIFAR10DVS-TET", "dvs-cifar10")
_NUMBERED = re.compile(r"(\d{1,9})\.pt")


def locate(data_folder: Path) -> Path | None:
    """The folder that holds train/ and test/, if there is one."""
    return find_folder(data_folder, NAMES, "train/0.pt")


def open_set(cfg: EventDataConfig, data_folder: Path, split: str) -> "PtClips":
    """The clips of the folder train/ or test/. Reads the label of every file. DataError names what
    is missing."""
    folder = locate(data_folder)
    if folder is None:
        raise DataError(
            f"cifar10-dvs-tet was not found: expected {data_folder / NAMES[0]}/train/N.pt and "
            "test/N.pt for N = 0, 1, "
            "...; give the folder with root or the variable SPIKEDRIVEN_DATA. The recordings "
            "themselves are the set "
            "cifar10-dvs"
        )
    numbered = ((_NUMBERED.fullmatch(path.name), path) for path in (folder / split).glob("*.pt"))
    files = [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]
    if not files:
        raise DataError(f"{folder / split}: expected files 0.pt, 1.pt, ..., found none")
    return PtClips(cfg, files, np.array([_read(file)[1] for file in files], dtype=np.int64))


class PtClips(EventDataset):
    """Clips in the order of their numbers. The frame cache is not used: the files hold frames."""

    def __init__(self, cfg: EventDataConfig, files: Sequence[Path], targets: np.ndarray) -> None:
        super().__init__(cfg, targets, CLASSES)
        self.files = tuple(files)

    def frames(self, index: int, draws: np.random.Generator | None = None) -> torch.Tensor:
        file = self.files[index]
        clip, _ = _read(file)
        if clip.shape[3] != self.cfg.time_steps:
            raise DataError(
                f"{file}: has {clip.shape[3]} steps, and data.time_steps is {self.cfg.time_steps}; "
                "its frames cannot "
                "be cut anew, so use the steps of the files"
            )
        return torch.stack(
            [_picture(clip[..., step], file, self.cfg.img_size) for step in range(clip.shape[3])]
        )

    def where(self, index: int) -> str:
        return str(self.files[index])

    def subset(self, indices: np.ndarray) -> Self:
        return type(self)(self.cfg, [self.files[i] for i in indices], self.targets[indices])


def _read(file: Path) -> tuple[torch.Tensor, int]:
    """Frames [2, H, W, T], on disk until they are looked at where the file's format allows it, and
    the label."""
    content = _load(file)
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise DataError(
            f"{file}: expected a pair of frames and label, found {type(content).__name__}"
        )
    clip, label = content
    number = label.item() if isinstance(label, torch.Tensor) and label.numel() == 1 else label
    shape = list(clip.shape) if isinstance(clip, torch.Tensor) else []
    if len(shape) != 4 or shape[0] != 2 or 0 in shape or max(shape[1:3]) > LARGEST_SIDE:
        found = shape or type(clip).__name__
        raise DataError(
            f"{file}: expected frames [2, H, W, T], of at most {LARGEST_SIDE} pixels a side, found "
            f"{found}"
        )
    if not isinstance(number, (int, float)) or number not in range(len(CLASSES)):
        raise DataError(f"{file}: expected one label from 0 to {len(CLASSES) - 1}, found {label}")
    return clip, int(number)


def _load(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=_starts_as_zip(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged or hostile file makes the reader raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"{file} was refused: it is damaged, or holds more than tensors and numbers ({reason})"
        ) from error


def _starts_as_zip(file: Path) -> bool:
    """Whether it is in the format of today; the older one cannot be read in parts."""
    with file.open("rb") as start:
        return start.read(2) == b"PK"


def _picture(step: torch.Tensor, file: Path, side: int) -> torch.Tensor:
    """[2, H, W] of any numbers -> float32 [2, side, side] from 0 to 1, as the release makes it; see
    the module."""
    scaled = step.double() * 255 if step.is_floating_point() else step.double()
    if not bool(torch.isfinite(scaled).all()) or bool(scaled.min() < 0):
        raise DataError(f"{file}: expected frames of finite numbers of at least 0")
    whole = scaled.long().remainder(256).to(torch.uint8).permute(1, 2, 0)
    picture = Image.fromarray(whole.numpy(), "LA").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
