"""Fashion-MNIST: the part that ships with the package, and the full set wherever it lies on this
machine.

Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv 1708.07747. MIT licence.
"""

import gzip
import hashlib
import io
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from torchvision.datasets import FashionMNIST

from spikedriven.data.images import ArrayImages
from spikedriven.errors import DataError

CLASSES = tuple(FashionMNIST.classes)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
EMBEDDED_FILE = Path(__file__).parent / "embedded" / "fashion-mini.npz"
EMBEDDED_SHA256 = "cc059974fb5a8c7388a58e38efcf37431016154d39069543df3e7bd8ed0ede15"
IMAGES_PER_SPLIT = {"train": 60_000, "test": 10_000}
_FILE_STEM = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 8  # the IDX type code, third byte of the file


def load_embedded(split: str) -> ArrayImages:
    """The `"train"` (10,000) or `"test"` (2,000) part of fashion-mini, 28x28 grey, out of the
    package itself.
    """
    arrays = _embedded_arrays()
    return ArrayImages(
        arrays[f"{split}_images"], arrays[f"{split}_labels"], CLASSES, source=str(EMBEDDED_FILE)
    )


@cache
def _embedded_arrays() -> dict[str, np.ndarray]:
    if not EMBEDDED_FILE.is_file():
        raise DataError(
            f"{EMBEDDED_FILE} is missing from the installation; install the package again"
        )
    content = EMBEDDED_FILE.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != EMBEDDED_SHA256:
        raise DataError(
            f"{EMBEDDED_FILE} is damaged: sha256 {found}, expected {EMBEDDED_SHA256}; install the "
            "package again"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def candidate_folders(data_folder: Path) -> list[Path]:
    """Where the full set's four IDX files are looked for, in order."""
    return [
        data_folder / "FashionMNIST" / "raw",
        data_folder / "fashion-mnist",
        data_folder,
        DEBIAN_FOLDER,
    ]


def locate(data_folder: Path) -> Path | None:
    """The first candidate folder that holds all four IDX files (plain or .gz), or None."""
    for folder in candidate_folders(data_folder):
        if all(_idx_file(folder, name) for split in _FILE_STEM for name in _names(split)):
            return folder
    return None


def load_full(data_folder: Path, split: str, download: bool) -> ArrayImages:
    """The 60,000 `"train"` or 10,000 `"test"` images of the full set.

    Raises DataError when the set is nowhere (the message lists every place) or a file is damaged.
    """
    folder = locate(data_folder) or (_download(data_folder) if download else None)
    if folder is None:
        raise DataError(_missing_message(data_folder))
    image_name, label_name = _names(split)
    images = read_idx(_existing(folder, image_name), (IMAGES_PER_SPLIT[split], 28, 28))
    labels = read_idx(_existing(folder, label_name), (IMAGES_PER_SPLIT[split],))
    if labels.max() >= len(CLASSES):
        raise DataError(
            f"{folder / label_name}: label {labels.max()} found, expected 0..{len(CLASSES) - 1}"
        )
    return ArrayImages(images, labels, CLASSES, source=str(folder))


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an IDX file of unsigned bytes (plain or .gz) and checks that it holds exactly
    `shape`; uint8.
    """
    header = bytes([0, 0, _UNSIGNED_BYTES, len(shape)]) + np.array(shape, ">u4").tobytes()
    expected = len(header) + int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(expected + 1)  # a few bytes of a .gz can stand for gigabytes
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch the file again") from error
    if not content.startswith(header) or len(content) != expected:
        more = "more than " if len(content) > expected else ""
        raise DataError(
            f"{path} is not the expected IDX file: {more}{min(len(content), expected)} bytes "
            "beginning "
            f"{content[: len(header)].hex()}, expected {expected} bytes beginning {header.hex()} "
            f"(shape {shape}); "
            "fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _names(split: str) -> tuple[str, str]:
    return f"{_FILE_STEM[split]}-images-idx3-ubyte", f"{_FILE_STEM[split]}-labels-idx1-ubyte"


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _existing(folder: Path, name: str) -> Path:
    path = _idx_file(folder, name)
    if path is None:
        raise DataError(f"{folder / name} (or .gz) has disappeared; fetch the set again")
    return path


def _download(data_folder: Path) -> Path:
    try:
        FashionMNIST(str(data_folder), download=True)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"downloading fashion-mnist failed: {error}\n{_missing_message(data_folder)}"
        ) from error
    return data_folder / "FashionMNIST" / "raw"


def _missing_message(data_folder: Path) -> str:
    names = ", ".join(name for split in _FILE_STEM for name in _names(split))
    partial = [
        f"{folder} lacks {name}"
        for folder in candidate_folders(data_folder)
        for names_of_split in map(_names, _FILE_STEM)
        for name in names_of_split
        if not _idx_file(folder, name)
        and any(_idx_file(folder, n) for s in _FILE_STEM for n in _names(s))
    ]
    return (
        f"fashion-mnist was not found. It needs {names} (plain or .gz). Do one of:\n"
        f"  1. put them into the data folder, {data_folder / 'FashionMNIST' / 'raw'} "
        "(another data folder: root, or the variable SPIKEDRIVEN_DATA);\n"
        "  2. install Debian's package dataset-fashion-mnist, which puts them into "
        f"{DEBIAN_FOLDER};\n"
        "  3. allow torchvision's download: spikedriven data --check fashion-mnist --download, or "
        "download=True." + "".join(f"\n  Incomplete: {line}." for line in partial)
    )
