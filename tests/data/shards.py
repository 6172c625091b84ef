"""Small sets in shards: written by the package `webdataset`, by `datasets`, and by hand where
they are to be wrong.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import datasets
import webdataset
from PIL import Image

from tests.data.conftest import photo

Member = tuple[str, bytes]


def encoded(seed: int) -> bytes:
    """A PNG: what is read can be compared with what was written."""
    buffer = io.BytesIO()
    photo(seed).save(buffer, format="png")
    return buffer.getvalue()


def picture(seed: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(seed)))


def members(seeds: Iterable[int], classes: int = 3) -> Iterator[Member]:
    """Samples whose label is the seed modulo the number of classes."""
    for seed in seeds:
        yield f"class{seed % classes}/{seed:05d}.png", encoded(seed)
        yield f"class{seed % classes}/{seed:05d}.cls", str(seed % classes).encode()


def write_tar(path: Path, content: Iterable[Member | tarfile.TarInfo]) -> Path:
    """A tar with these members, as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:") as tar:
        for member in content:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def write_wds(
    root: Path, train: tuple[int, ...] = (5, 4, 6), test: tuple[int, ...] = (4, 3)
) -> Path:
    """ROOT/toy-train-0000.tar ... with so many samples each, seeds counted on from 0; val from
    1000. Returns ROOT.
    """
    root.mkdir(parents=True, exist_ok=True)
    for part, first, counts in (("train", 0, train), ("val", 1000, test)):
        for number, count in enumerate(counts):
            with webdataset.TarWriter(str(root / f"toy-{part}-{number:04d}.tar")) as writer:
                for seed in range(first, first + count):
                    writer.write(
                        {
                            "__key__": f"s{seed:05d}",
                            "png": encoded(seed),
                            "cls": str(seed % 3).encode(),
                        }
                    )
            first += count
    return root


def write_hfds(
    root: Path, train: int = 15, test: int = 7, parquet: bool = False, named: bool = True
) -> Path:
    """The same samples as a saved DatasetDict, or as parquet files. named: labels are a
    ClassLabel. Returns ROOT.
    """
    names = ["ant", "bee", "cat"]
    label = datasets.ClassLabel(names=names) if named else datasets.Value("int32")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    parts = {}
    for part, seeds in (("train", range(train)), ("validation", range(1000, 1000 + test))):
        rows = {
            "image": [{"bytes": encoded(s), "path": None} for s in seeds],
            "label": [s % 3 for s in seeds],
        }
        parts[part] = datasets.Dataset.from_dict(rows, features=features)
    if not parquet:
        datasets.DatasetDict(parts).save_to_disk(str(root))
        return root
    (root / "data").mkdir(parents=True)
    for part, table in parts.items():
        table.to_parquet(str(root / "data" / f"{part}-00000-of-00001.parquet"))
    return root
