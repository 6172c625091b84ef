"""Where the samples of a webdataset shard lie: one pass over the headers of the tar, remembered
beside it.

A shard is an uncompressed tar in which the files of a sample follow one another and share the name
up to the first dot: `n01440764/10026.jpg`, `n01440764/10026.cls` (the label as a decimal number).
Nothing is ever unpacked to the disk. Reading by offset instead of streaming is what makes a run
continue exactly: a stream's shuffle buffer and its place within the shard are state that no
position in an epoch describes, while here sample i is the same bytes always.
"""

import hashlib
import io
import logging
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from spikedriven.data.archives import read_archive
from spikedriven.data.images import endings
from spikedriven.errors import DataError
from spikedriven.files import cache_folder, change_stamp, replace_file

_log = logging.getLogger(__name__)
_LAYOUT = 2  # of the cached table
LABEL = "cls"
LARGEST_IMAGE = 1 << 28  # bytes; a file that is opened whole must fit into memory
_LONGEST_LABEL = 20
#: A table is trusted where its shard was last changed at least this long before it was written:
#: within one tick of a file system's clock a shard may change and keep its time. Nanoseconds.
_TICK_NS = 50_000_000


@dataclass(frozen=True)
class ShardIndex:
    """Of the N samples of one shard, int64 `[N]` each: first byte and length of the image in
    the tar, and the label.
    """

    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


@dataclass
class _Sample:
    key: str
    label: int | None = None
    image: tuple[int, int] | None = None
    seen: set[str] = field(default_factory=set)


def shard_index(path: Path) -> ShardIndex:
    """The table of a shard: the remembered one where the shard has not changed since, else read and
    remembered.

    Raises DataError naming the shard, and the sample, for anything that is not a whole shard of
    labelled images.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{path}: no plain file; expected an uncompressed tar")
    stamp = np.array([_LAYOUT, *change_stamp(state)], dtype=np.int64)
    for cache in _caches(path):
        index = _remembered(cache, stamp, state.st_size)
        if index is not None:
            return index
    index = read_index(path)
    _remember(path, stamp, index)
    return index


def read_index(path: Path) -> ShardIndex:
    """The table of a shard, from the shard itself."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            samples = list(_samples(path, tar))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{path}: not a whole uncompressed tar ({error}); copy the shard again"
        ) from error
    rows = [(*(sample.image or ()), sample.label) for sample in samples]  # complete ones have both
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return ShardIndex(*table.T.copy())


def _samples(path: Path, tar: tarfile.TarFile) -> Iterator[_Sample]:
    """The complete samples of a shard, in order."""
    current: _Sample | None = None
    keys = set()
    for member in tar:
        key, ending = _checked_name(path, member)
        if not ending:
            continue
        if current is None or key != current.key:
            if current is not None:
                yield _complete(path, current)
            if key in keys:
                raise DataError(
                    f"{path}: the files of sample {key!r} do not follow one another; write the "
                    "shard again"
                )
            keys.add(key)
            current = _Sample(key)
        _take(path, tar, member, ending, current)
    _check_end(path, tar)
    if current is not None:
        yield _complete(path, current)


def _check_end(path: Path, tar: tarfile.TarFile) -> None:
    """tarfile stops without a word where a header is damaged or missing."""
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(
            f"{path}: damaged or cut off at byte {tar.offset}: neither a file nor the end mark of "
            "a tar is there; copy "
            "the shard again"
        )


def _checked_name(path: Path, member: tarfile.TarInfo) -> tuple[str, str]:
    """(key, ending in small letters) of a member; no ending: nothing to read in it."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise DataError(f"{path}: refused: the name {member.name!r} leads out of the archive")
    if member.isdir():
        return "", ""
    if not member.isreg() or member.issparse():
        raise DataError(
            f"{path}: refused: {member.name!r} is a link, a device or a sparse file, expected "
            "plain files"
        )
    stem, _, ending = name.name.partition(".")
    return str(name.parent / stem), ending.lower()


def _take(
    path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, ending: str, sample: _Sample
) -> None:
    kind = "image" if f".{ending}" in endings() else ending
    if kind in sample.seen:
        raise DataError(
            f"{path}: sample {sample.key!r} has two files for its {kind}; write the shard again"
        )
    sample.seen.add(kind)
    if kind == "image":
        if not 0 < member.size <= LARGEST_IMAGE:
            raise DataError(
                f"{path}: {member.name!r} has {member.size:,} bytes, expected 1 to "
                f"{LARGEST_IMAGE:,}"
            )
        sample.image = member.offset_data, member.size
    elif kind == LABEL:
        content = tar.extractfile(member).read(_LONGEST_LABEL + 1)  # type: ignore[union-attr]  # it is a plain file
        text = content.strip()
        if len(content) > _LONGEST_LABEL or not text.isdigit() or int(text) >= 2**31:
            raise DataError(
                f"{path}: {member.name!r} holds {content!r}, expected a class number such as 17"
            )
        sample.label = int(text)


def _complete(path: Path, sample: _Sample) -> _Sample:
    if sample.label is None:
        raise DataError(
            f"{path}: sample {sample.key!r} has no label: expected {sample.key}.{LABEL} beside its "
            "image"
        )
    if sample.image is None:
        known = ", ".join(sorted(endings()))
        raise DataError(
            f"{path}: sample {sample.key!r} has no image: expected {sample.key} with one of {known}"
        )
    return sample


def _caches(path: Path) -> list[Path]:
    """Where a table may lie: beside the shard, else (shards that nobody may write beside) in
    the user's cache.
    """
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=16).hexdigest()
    return [
        path.with_name(f".{path.name}.index.npz"),
        cache_folder() / "shards" / f"{digest}.npz",
    ]


def _remembered(cache: Path, stamp: np.ndarray, size: int) -> ShardIndex | None:
    """The table of a cache file, or None where there is none of this very shard, whose size is
    given.
    """
    try:
        written = cache.stat().st_mtime_ns
        found = read_archive(cache, most_bytes=size)
        if not np.array_equal(found["stamp"], stamp) or written - int(stamp[-1]) < _TICK_NS:
            return None
        table = found["table"]
    except (OSError, ValueError, KeyError):
        return None  # absent or damaged: it is made again from the shard
    return ShardIndex(*table) if _is_table(table, size) else None


def _is_table(table: np.ndarray, size: int) -> bool:
    """Whether it can be one of a shard of this size: no offset leads out of it."""
    if table.dtype != np.int64 or table.ndim != 2 or len(table) != 3:
        return False
    offsets, sizes, labels = table
    inside = (offsets >= 0) & (sizes > 0) & (sizes <= LARGEST_IMAGE) & (offsets <= size - sizes)
    return bool(inside.all() and (labels >= 0).all() and (labels < 2**31).all())


def _remember(path: Path, stamp: np.ndarray, index: ShardIndex) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, stamp=stamp, table=np.stack([index.offsets, index.sizes, index.labels]))
    for cache in _caches(path):
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            replace_file(cache, buffer.getvalue())
            return
        except OSError as error:
            _log.info("%s: cannot be written (%s)", cache, error)
    _log.warning(
        "%s: its table can be kept nowhere, so every start reads the headers of the whole shard",
        path,
    )
