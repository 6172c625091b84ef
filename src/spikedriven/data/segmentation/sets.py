"""Images with label maps: fashion-scenes, ADE20K and Pascal VOC 2012. Pixels that do not count
have the label 255.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from spikedriven.data.images import UNREADABLE, decode, decode_labels
from spikedriven.data.lookup import below
from spikedriven.data.parts import Part
from spikedriven.data.scenes import FashionScenes
from spikedriven.errors import DataError

IGNORE = 255
VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
ADE_CLASSES = 150


class LabelMaps(Dataset[tuple[Tensor, Tensor]]):
    """Base of the sets; item i is (image uint8 [3, H, W], labels uint8 [H, W]: 0..K-1, or 255).

    one_size: whether all images have the same size, so that several make a batch.
    """

    one_size = False

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """What to call sample `index` in messages."""
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> Part:
        """The samples at `indices`, in that order."""
        return Part(self, indices)


class SceneMaps(LabelMaps):
    """Label maps of fashion-scenes."""

    one_size = True

    def __init__(self, scenes: FashionScenes) -> None:
        super().__init__(scenes.classes)
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target = self.scenes[index]
        return image, target["label_map"]

    def where(self, index: int) -> str:
        return self.scenes.where(index)

    def identity(self) -> tuple[bytes, ...]:
        """Which scenes they are."""
        return self.scenes.identity()


class FileMaps(LabelMaps):
    """One image file and one label file per sample. relabel: uint8 values of the file -> labels."""

    def __init__(
        self, images: Sequence[Path], maps: Sequence[Path], classes: Sequence[str],
        relabel: Callable[[np.ndarray], np.ndarray],
    ) -> None:  # fmt: skip
        super().__init__(classes)
        self.images, self.maps, self.relabel = list(images), list(maps), relabel

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """DataError, naming the file, for one that is missing, damaged, or does not fit the
        other.
        """
        image = np.array(_open(self.images[index], partial(decode, mode="RGB")))
        found = self.read_labels(self.maps[index])
        if found.mode not in ("L", "P"):
            raise DataError(
                f"{self.maps[index]}: mode {found.mode}, expected one byte per pixel (mode L or P)"
            )
        labels = self.relabel(np.array(found))
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{self.maps[index]}: {labels.shape[1]}x{labels.shape[0]} pixels, but "
                f"{self.images[index]} has "
                f"{image.shape[1]}x{image.shape[0]}; they must be of one "
                f"size{_turned(labels, image)}"
            )
        self._check_range(labels, index)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(labels)

    def read_labels(self, path: Path) -> Image.Image:
        """The label map of a file, one byte per pixel."""
        return _open(path, decode_labels)

    def _check_range(self, labels: np.ndarray, index: int) -> None:
        wrong = np.unique(labels[(labels >= self.num_classes) & (labels != IGNORE)])
        if len(wrong):
            raise DataError(
                f"{self.maps[index]}: label {wrong[0]} found, expected 0..{self.num_classes - 1} "
                f"or {IGNORE} "
                "(after the set's own renumbering)"
            )

    def where(self, index: int) -> str:
        return str(self.images[index])

    def identity(self) -> tuple[bytes, ...]:
        """The names of pictures and label maps."""
        return tuple(
            "\0".join(p.name for p in paths).encode() for paths in (self.images, self.maps)
        )


def _turned(labels: np.ndarray, image: np.ndarray) -> str:
    if labels.shape != image.shape[1::-1]:
        return ""
    return " (is the picture turned by its EXIF orientation, and its map not? Turn the map too)"


def _open(path: Path, read: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return read(path)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image ({error}); restore the file") from error


# ADE20K
# --------------------------------------------------------------------------------------------------

ADE_FOLDERS = {"train": "training", "test": "validation"}


def locate_ade(data_folder: Path) -> Path | None:
    """The folder with images/ and annotations/."""
    for folder in (
        data_folder / "ADEChallengeData2016",
        data_folder / "ade20k" / "ADEChallengeData2016",
        data_folder,
    ):
        if all(
            (folder / kind / part).is_dir()
            for kind in ("images", "annotations")
            for part in ADE_FOLDERS.values()
        ):
            return folder
    return None


def open_ade(data_folder: Path, split: str) -> FileMaps:
    """SceneParsing150 (Zhou et al., CVPR 2017): 20,210 "train" or 2,000 "test" images (its
    validation part).

    Value 0 of the files ("other") does not count; 1..150 become 0..149.
    """
    root = locate_ade(data_folder)
    if root is None:
        raise DataError(
            f"ade20k was not found: expected {data_folder}/ADEChallengeData2016 with "
            "images/training, "
            "images/validation, annotations/training and annotations/validation "
            "(ADEChallengeData2016.zip, "
            "http://sceneparsing.csail.mit.edu); give the folder with data.root or the variable "
            "SPIKEDRIVEN_DATA"
        )
    part = ADE_FOLDERS[split]
    images = sorted((root / "images" / part).glob("*.jpg"))
    maps = [root / "annotations" / part / f"{path.stem}.png" for path in images]
    check_pairs(images, maps, root / "images" / part)
    alone = sorted(set((root / "annotations" / part).glob("*.png")) - set(maps))
    if alone:
        raise DataError(
            f"{alone[0]} has no image ({len(alone)} such label maps): expected "
            f"{root / 'images' / part}/"
            f"{alone[0].stem}.jpg; unpack the set again, or name the images so"
        )
    return FileMaps(images, maps, _ade_classes(root), _without_zero)


def _without_zero(values: np.ndarray) -> np.ndarray:
    return values - np.uint8(1)  # 0 wraps to 255


def _ade_classes(root: Path) -> list[str]:
    """Names from the set's own table, objectInfo150.txt; numbers where it is not there."""
    table = root / "objectInfo150.txt"
    if not table.is_file():
        return [f"class {i}" for i in range(1, ADE_CLASSES + 1)]
    rows = [
        line.split("\t")
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        if line
    ]
    names = [row[-1].split(",")[0].strip() for row in rows]
    if len(names) != ADE_CLASSES:
        raise DataError(
            f"{table}: {len(names)} classes found, expected {ADE_CLASSES}; restore the file or "
            "remove it"
        )
    return names


# Pascal VOC 2012
# --------------------------------------------------------------------------------------------------

VOC_LISTS = {"train": "train", "test": "val"}


def locate_voc(data_folder: Path) -> Path | None:
    """The folder VOC2012."""
    for folder in (data_folder / "VOCdevkit" / "VOC2012", data_folder / "VOC2012", data_folder):
        if (folder / "SegmentationClass").is_dir() and (folder / "JPEGImages").is_dir():
            return folder
    return None


def open_voc(data_folder: Path, split: str) -> FileMaps:
    """Everingham et al., 2012: 1,464 "train" or 1,449 "test" images (its val list), 21 classes
    with the background.
    """
    root = locate_voc(data_folder)
    if root is None:
        raise DataError(
            f"voc2012 was not found: expected {data_folder}/VOCdevkit/VOC2012 with JPEGImages, "
            "SegmentationClass and "
            "ImageSets/Segmentation (VOCtrainval_11-May-2012.tar); give the folder with data.root "
            "or the variable "
            "SPIKEDRIVEN_DATA"
        )
    names_file = root / "ImageSets" / "Segmentation" / f"{VOC_LISTS[split]}.txt"
    stems = listed_names(names_file)
    images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    maps = [root / "SegmentationClass" / f"{stem}.png" for stem in stems]
    check_pairs(images, maps, names_file)
    return FileMaps(images, maps, VOC_CLASSES, _unchanged)


def listed_names(names_file: Path) -> list[str]:
    """The entries of a list file, each checked to stay inside the set."""
    try:
        names = names_file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{names_file} cannot be read ({error}); unpack the set again") from error
    return [str(below(Path(), name, str(names_file))) for name in names]


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


def check_pairs(images: Sequence[Path], maps: Sequence[Path], source: Path) -> None:
    """DataError for a file that is missing, and where there are none. source: what names them."""
    if not images:
        raise DataError(f"{source} names no images; unpack the set again")
    missing = [path for path in (*images, *maps) if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]} is missing{more}; unpack the set again")
