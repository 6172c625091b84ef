"""Every format of event files: what tells it, who reads it, and what to do with files that nobody
reads here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from spikedriven.data.events import aedat2, aedat31
from spikedriven.data.events.binary import EventFile
from spikedriven.data.events.formats import aedat4, es, hdf5
from spikedriven.data.events.formats.bin40 import open_bin40
from spikedriven.data.events.formats.dat import open_dat
from spikedriven.data.events.formats.evt import open_raw
from spikedriven.data.events.formats.text import COLUMN_NAMES, open_text
from spikedriven.data.events.npz import open_npz
from spikedriven.data.events.raw import Source
from spikedriven.errors import DataError

#: Bytes of a file's beginning that tell its format.
HEAD = 16


@dataclass(frozen=True, kw_only=True)
class Format:
    """One line of the table.

    suffixes: of file names, small letters. magic: how a file begins. by_suffix: the name has to end
    so too, since other files begin alike. piped: whether it is read forwards only, so that it may
    come from a pipe or a file that grows. sensor: who says how large it is. library: PyPI's package
    that reads it, of the extra `events`. source: of the format's definition.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    open: Callable[[EventFile, int], Source]
    piped: bool
    sensor: str
    source: str
    library: str = ""
    by_suffix: bool = False

    def fits(self, head: bytes, suffix: str) -> bool:
        """Whether a file that begins so, and whose name ends so, is one of these."""
        return head.startswith(self.magic) and (suffix in self.suffixes or not self.by_suffix)


PROPHESEE = b"% "
_DV = "https://docs.inivation.com/software/software-advanced-usage/file-formats/"
_PROPHESEE = "https://docs.prophesee.ai/stable/data/file_formats/"
FORMATS = (
    Format(
        name="AEDAT 2.0",
        suffixes=(".aedat",),
        magic=aedat2.MAGIC,
        open=aedat2.open_aedat2,
        piped=True,
        sensor="always 128 x 128, of the DVS128",
        source=f"{_DV}aedat-2.0.html",
    ),
    Format(
        name="AEDAT 3.1",
        suffixes=(".aedat",),
        magic=aedat31.MAGIC,
        open=aedat31.open_aedat31,
        piped=True,
        sensor="the header's camera; 128 x 128 where it names none",
        source=f"{_DV}aedat-3.1.html",
    ),
    Format(
        name="AEDAT 4",
        suffixes=(".aedat4",),
        magic=aedat4.MAGIC,
        open=aedat4.open_aedat4,
        piped=False,
        sensor="the file",
        source=f"{_DV}aedat-4.0.html",
        library="aedat",
    ),
    Format(
        name=".npz",
        suffixes=(".npz",),
        magic=b"PK",
        open=open_npz,
        piped=False,
        sensor="arrays height and width, else the user",
        source="arrays t (microseconds), x, y, p of `numpy.savez`",
    ),
    Format(
        name="Prophesee DAT",
        suffixes=(".dat",),
        magic=PROPHESEE,
        open=open_dat,
        piped=True,
        sensor="the header, else the user",
        source=f"{_PROPHESEE}dat.html",
        by_suffix=True,  # RAW begins alike
    ),
    Format(
        name="Prophesee RAW",
        suffixes=(".raw",),
        magic=PROPHESEE,
        open=open_raw,
        piped=True,
        sensor="the header, else the user",
        source=f"{_PROPHESEE}raw.html",
    ),
    Format(
        name="HDF5",
        suffixes=(".h5", ".hdf5"),
        magic=hdf5.MAGIC,
        open=hdf5.open_hdf5,
        piped=False,
        sensor="the file, else the user",
        source=f"{_PROPHESEE}hdf5.html",
        library="h5py, hdf5plugin",
    ),
    Format(
        name="Event Stream",
        suffixes=(".es",),
        magic=es.MAGIC,
        open=es.open_es,
        piped=False,
        sensor="the file",
        source="https://github.com/neuromorphicsystems/event_stream",
        library="event-stream",
    ),
    Format(
        name="N-MNIST .bin",
        suffixes=(".bin",),
        magic=b"",
        open=open_bin40,
        piped=True,
        sensor="the user",
        source="https://www.garrickorchard.com/datasets/n-mnist",
        by_suffix=True,
    ),
    Format(
        name="text",
        suffixes=(".csv", ".txt"),
        magic=b"",
        open=open_text,
        piped=True,
        sensor="%geometry, or a first line of width and height, else the user",
        source="https://rpg.ifi.uzh.ch/davis_data.html",
        by_suffix=True,
    ),
)

_TO_NPZ = (
    "write its arrays t (microseconds), x, y and p with numpy.savez_compressed, and read that .npz"
)
_UNPACK = "unpack it first"
_ROS = f"take the events out of its messages with the package rosbags, {_TO_NPZ}"
#: How files begin, or their names end, that are not read: (what they are, what to do).
NOT_READ: dict[bytes | str, tuple[str, str]] = {
    b"#!AER-DAT1": ("AEDAT 1.0", "jAER writes it as AEDAT 2.0 (File, Save as)"),
    b"#!AER-DAT2.1": ("AEDAT 2.1", "jAER writes it as AEDAT 2.0 (File, Save as)"),
    b"#!AER-DAT3.0": ("AEDAT 3.0", "iniVation's DV writes it as AEDAT 4"),
    b"#ROSBAG": ("a ROS bag", _ROS),
    b"\x89MCAP": ("a ROS 2 recording (MCAP)", _ROS),
    b"SQLite format 3": ("a ROS 2 recording (SQLite)", _ROS),
    b"MATLAB 5.0": ("a MATLAB file", f"read it with scipy.io.loadmat, {_TO_NPZ}"),
    b"\x93NUMPY": ("a single NumPy array", _TO_NPZ),
    b"\x1f\x8b": ("compressed by gzip", _UNPACK),
    b"BZh": ("compressed by bzip2", _UNPACK),
    b"\xfd7zXZ": ("compressed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK),
    b"7z\xbc\xaf": ("an archive of 7z", _UNPACK),
    b"RIFF": ("a video (AVI)", "a video has no events"),
    ".mp4": ("a video", "a video has no events"),
    ".pt": ("a file of PyTorch", _TO_NPZ),
    ".spk": ("a file of spikes", _TO_NPZ),
}


def find_format(path: Path, head: bytes) -> Format:
    """The format of a file that begins with `head`. DataError naming what it is instead, and how to
    convert it.
    """
    suffix = path.suffix.lower()
    fitting = [format for format in FORMATS if format.fits(head, suffix)]
    if not fitting and not _is_text(head):
        _refuse(path, head, suffix)
    return fitting[0] if fitting else FORMATS[-1]


def _is_text(head: bytes) -> bool:
    """Numbers, or the name of a column first, as far as the beginning shows."""
    first, *others = re.split(r"[,;\s]", head.decode("latin-1").lstrip("#% ").lower())
    numbers = bool(head) and all(byte in b"0123456789+-.,;eE \t\r\n" for byte in head)
    return numbers or (first in COLUMN_NAMES and bool(others)) or head.startswith(b"%geometry")


def _refuse(path: Path, head: bytes, suffix: str) -> NoReturn:
    *names, last = (format.name for format in FORMATS)
    known = f"{', '.join(names)} or {last}"
    for sign, (name, remedy) in NOT_READ.items():
        if head.startswith(sign) if isinstance(sign, bytes) else suffix == sign:
            raise DataError(f"{path} is {name}, which is not read: {remedy}. Read are {known}")
    raise DataError(
        f"{path}, byte 0: expected an {known} file, found {head!r}. Of another format, {_TO_NPZ}"
    )
