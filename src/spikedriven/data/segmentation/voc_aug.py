"""Pascal VOC 2012 with the labels of SBD in its train part: "voc12aug" of MMSegmentation.

SBD, "Semantic Contours from Inverse Detectors" (Hariharan et al., ICCV 2011), labels the objects of
11,355 images of VOC 2012. Those that are in neither list of VOC's own segmentation join the train
part: 1,464 + 9,118 = 10,582.
"""

import importlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikedriven.data.segmentation.sets import (
    VOC_CLASSES,
    FileMaps,
    check_pairs,
    listed_names,
    locate_voc,
    open_voc,
)
from spikedriven.errors import DataError

AUG_FOLDER = "SegmentationClassAug"
#: What scipy raises, or the look-up behind it, on a file that is no label map.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, zlib.error)


def locate_sbd(data_folder: Path) -> Path | None:
    """The folder of SBD with its lists and cls/."""
    places = (
        "VOCaug/dataset",
        "VOCdevkit/VOCaug/dataset",
        "benchmark_RELEASE/dataset",
        "sbd",
        "SBD",
    )
    for folder in (*(data_folder / place for place in places), data_folder):
        if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
            return folder
    return None


def locate_voc_aug(data_folder: Path) -> Path | None:
    """The folder VOC2012, where the labels of SBD are there too: converted, or as they are
    distributed.
    """
    root = locate_voc(data_folder)
    if root is None or not ((root / AUG_FOLDER).is_dir() or locate_sbd(data_folder)):
        return None
    return root


def open_voc_aug(data_folder: Path, split: str) -> FileMaps:
    """10,582 "train" images: VOC's own with VOC's labels, the others with those of SBD. "test" is
    that of VOC.

    The labels of SBD are read from PNG files in VOC2012/SegmentationClassAug, listed in
    ImageSets/Segmentation/aug.txt or trainaug.txt (what MMSegmentation's converter writes); else
    from SBD itself (VOCaug/dataset or benchmark_RELEASE/dataset with cls/*.mat), which needs scipy.
    """
    own = open_voc(data_folder, split)
    if split == "test":
        return own
    root = own.images[0].parents[1]
    taken = {path.stem for path in (*own.images, *open_voc(data_folder, "test").images)}
    if (root / AUG_FOLDER).is_dir():
        labels, suffix, lists = root / AUG_FOLDER, "png", [_converted_list(root)]
    else:
        folder = _sbd(data_folder)
        labels, suffix, lists = folder / "cls", "mat", [folder / "train.txt", folder / "val.txt"]
        _scipy()
    stems = [stem for names in lists for stem in listed_names(names) if stem not in taken]
    images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    maps = [labels / f"{stem}.{suffix}" for stem in stems]
    check_pairs(images, maps, lists[0])
    return VocAugMaps([*own.images, *images], [*own.maps, *maps], VOC_CLASSES, own.relabel)


class VocAugMaps(FileMaps):
    """PNG label maps, and SBD's MATLAB files."""

    def read_labels(self, path: Path) -> Image.Image:
        """The label map of a file; DataError for one that is none."""
        if path.suffix != ".mat":
            return super().read_labels(path)
        scipy = _scipy()
        try:
            content = scipy.loadmat(str(path), variable_names=["GTcls"])
            values = content["GTcls"]["Segmentation"][0, 0]
        except (*_DAMAGED, scipy.matlab.MatReadError) as error:
            raise DataError(
                f"{path} cannot be read as a label map of SBD ({error}); restore the file"
            ) from error
        return Image.fromarray(np.asarray(values, dtype=np.uint8))


def _sbd(data_folder: Path) -> Path:
    folder = locate_sbd(data_folder)
    if folder is None:
        raise DataError(
            "voc12aug: the labels of SBD were not found: expected "
            f"{data_folder}/VOCdevkit/VOC2012/{AUG_FOLDER} (PNG "
            f"files, as MMSegmentation's converter writes them), or {data_folder}/VOCaug/dataset "
            "with cls/, train.txt "
            "and val.txt (benchmark.tgz of the Semantic Boundaries Dataset)"
        )
    return folder


def _converted_list(root: Path) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    for name in ("aug.txt", "trainaug.txt"):
        if (lists / name).is_file():
            return lists / name
    raise DataError(
        f"voc12aug: {root / AUG_FOLDER} is there, but neither {lists}/aug.txt nor trainaug.txt "
        "says which of its files "
        "are for training"
    )


def _scipy() -> Any:
    """The module scipy.io."""
    try:
        return importlib.import_module("scipy.io")
    except ModuleNotFoundError as error:
        raise DataError(
            "voc12aug: the labels of SBD are MATLAB files, which scipy reads: pip install scipy. "
            "Or convert them to "
            f"PNG files in VOC2012/{AUG_FOLDER} with MMSegmentation's "
            "tools/dataset_converters/voc_aug.py"
        ) from error
