"""Folders of classes, each with pictures of one class: which files are taken, and that none is
left out in silence.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from spikedriven.data.images import FileImages, endings
from spikedriven.errors import DataError

_log = logging.getLogger(__name__)
#: Endings of pictures that are not read here; whoever has them has pictures, and must hear of it.
NOT_READ = frozenset(
    f".{kind}"
    for kinds in (
        "avif avifs heic heif jxl jp2 j2k jpf jpx svg eps pdf psd xcf ico tga dds exr hdr",
        "dng cr2 cr3 nef arw raf orf rw2 dcm dicom nii npy mat mp4 avi mov webm",
    )
    for kind in kinds.split()
)


def read_class_folders(folder: Path) -> FileImages:
    """folder/CLASS/**/*: classes are the sorted names of the folders, files are in the order of
    their names.

    DataError for a class without a picture, and for pictures in a format that is not read. Other
    files are passed over with a warning that counts them (hidden ones without).
    """
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    names: list[str] = []
    targets: list[int] = []
    others: list[str] = []
    for label, name in enumerate(classes):
        found = list(_files(folder / name))
        pictures = [path for path in found if _ending(path) in endings()]
        others += [path for path in found if _ending(path) not in endings()]
        if not pictures:
            _refuse_unread(others)
            raise DataError(
                f"{folder / name}: no picture in it; restore the images, or remove the class from "
                "train/ and val/"
            )
        names += [os.path.relpath(path, folder) for path in pictures]
        targets += [label] * len(pictures)
    _refuse_unread(others)
    _tell(folder, others, classes)
    return FileImages(folder, names, np.asarray(targets), classes)


def _files(folder: Path) -> Iterator[str]:
    for place, _, names in sorted(os.walk(folder, followlinks=True)):
        yield from (f"{place}{os.sep}{name}" for name in sorted(names) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


def _ending(path: str) -> str:
    return Path(path).suffix.lower()


def _refuse_unread(paths: list[str]) -> None:
    unread = [path for path in paths if _ending(path) in NOT_READ]
    if unread:
        raise DataError(
            f"{unread[0]}: {_ending(unread[0])} files are not read ({len(unread)} such files in "
            "these "
            "folders); convert them to PNG or JPEG, or take them out"
        )


def _tell(folder: Path, others: list[str], classes: list[str]) -> None:
    if others:
        kinds = ", ".join(
            f"{count} {ending or 'without ending'}" for ending, count in _counted(others)
        )
        _log.warning(
            "%s: files that are no pictures are passed over: %s (the first: %s)",
            folder,
            kinds,
            others[0],
        )
    if all(name.isdecimal() for name in classes) and classes != sorted(classes, key=int):
        _tell_order(folder, *classes[:3])


@cache
def _tell_order(folder: Path, *first: str) -> None:
    """Once: a set is opened several times."""
    _log.warning(
        "%s: the class folders are numbers, and their order is that of text, as torchvision has "
        "it: "
        "output 0 is %s, 1 is %s, 2 is %s. For the order of the numbers give them leading zeros",
        folder,
        *first,
    )


def _counted(paths: list[str]) -> list[tuple[str, int]]:
    return sorted(Counter(map(_ending, paths)).items())
