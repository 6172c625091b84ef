"""CIFAR-10 and CIFAR-100 from the "python version" folders, through torchvision's reader.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The files are pickles:
each is compared with its published MD5 before torchvision opens any of them.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from spikedriven.data.images import ArrayImages
from spikedriven.errors import DataError


@dataclass(frozen=True)
class Cifar:
    """One of the two sets, behind its torchvision class."""

    reader: type[datasets.CIFAR10]

    @property
    def _checksums(self) -> dict[str, str]:
        meta = self.reader.meta
        return {
            **dict(self.reader.train_list),
            **dict(self.reader.test_list),
            meta["filename"]: meta["md5"],
        }

    def locate(self, data_folder: Path) -> Path | None:
        """The set's folder below the data folder when all its files are there (their content is
        not looked at).
        """
        folder = data_folder / self.reader.base_folder
        return folder if all((folder / name).is_file() for name in self._checksums) else None

    def load(self, data_folder: Path, split: str, download: bool) -> ArrayImages:
        """50,000 `"train"` or 10,000 `"test"` images, 32x32 RGB. DataError names the missing or
        damaged file.
        """
        if download:
            self._download(data_folder)
        folder = data_folder / self.reader.base_folder
        self._check(folder)
        try:
            found = self.reader(str(data_folder), train=split == "train")
        except (KeyError, pickle.UnpicklingError, EOFError) as error:
            raise DataError(f"{folder} cannot be read ({error!r}); fetch the set again") from error
        return ArrayImages(found.data, np.asarray(found.targets), found.classes, source=str(folder))

    def _check(self, folder: Path) -> None:
        for name, md5 in self._checksums.items():
            path = folder / name
            if not path.is_file():
                raise DataError(
                    f"{path} is missing. Unpack {self.reader.filename} of {self.reader.url} so "
                    f"that {folder} exists "
                    "(another data folder: root, or the variable SPIKEDRIVEN_DATA), or allow the "
                    "download"
                )
            if not check_integrity(str(path), md5):
                raise DataError(
                    f"{path} is damaged: its MD5 is not {md5}; unpack {self.reader.filename} again"
                )

    def _download(self, data_folder: Path) -> None:
        try:
            self.reader(str(data_folder), download=True)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"downloading {self.reader.url} into {data_folder} failed: {error}"
            ) from error


CIFAR10 = Cifar(datasets.CIFAR10)
CIFAR100 = Cifar(datasets.CIFAR100)
