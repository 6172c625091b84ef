"""ImageNet-1k, or any set of your own, in the layout of the papers: train/CLASS/*.JPEG and
val/CLASS/*.JPEG.
"""

from pathlib import Path

from spikedriven.data.class_folders import read_class_folders
from spikedriven.data.images import FileImages
from spikedriven.errors import DataError

_FOLDER = {"train": "train", "test": "val"}


def locate(data_folder: Path) -> Path | None:
    """The folder holding train/ and val/: the data folder itself or imagenet/ in it; None when
    there is neither.
    """
    for folder in (data_folder, data_folder / "imagenet"):
        if all((folder / part).is_dir() for part in _FOLDER.values()):
            return folder
    return None


def load(data_folder: Path, split: str, download: bool) -> FileImages:
    """The `"train"` images or, for `"test"`, those of val/. Classes are the sorted names of the
    class folders; see `class_folders`.

    Raises DataError when a folder is missing, a class folder is empty, or train/ and val/ have
    other classes.
    """
    root = locate(data_folder)
    if root is None:
        can_not = (
            " (imagenet cannot be downloaded here: its terms must be accepted first)"
            if download
            else ""
        )
        raise DataError(
            f"imagenet was not found{can_not}: expected {data_folder}/train/CLASS/*.JPEG and "
            f"{data_folder}/val/CLASS/*.JPEG, or both below {data_folder / 'imagenet'}; "
            "give the folder with root or the variable SPIKEDRIVEN_DATA"
        )
    _check_classes(root)
    return read_class_folders(root / _FOLDER[split])


def _check_classes(root: Path) -> None:
    classes = {
        part: {entry.name for entry in (root / part).iterdir() if entry.is_dir()}
        for part in _FOLDER.values()
    }
    for part, names in classes.items():
        if not names:
            raise DataError(
                f"{root / part} holds no class folders; expected {root / part}/CLASS/*.JPEG (the "
                "official validation "
                "archive is flat: sort its images into the folders of their classes)"
            )
    different = sorted(classes["train"] ^ classes["val"])
    if different:
        raise DataError(
            f"{root}: train/ and val/ must hold the same class folders, but only one of them has "
            f"{', '.join(different[:5])}{' ...' if len(different) > 5 else ''} ({len(different)} "
            "in all)"
        )
