"""Files by the names that a data set's lists give."""

from pathlib import Path, PurePosixPath

from spikedriven.errors import DataError


def below(folder: Path, name: str, origin: str) -> Path:
    """folder / name of a list file; DataError for a name that leads out of the folder. origin: the
    list, and the place in it.
    """
    parts = PurePosixPath(name).parts
    if (
        not parts
        or PurePosixPath(name).is_absolute()
        or ".." in parts
        or "\x00" in name
        or "\\" in name
    ):
        raise DataError(f"{origin}: expected a path below {folder}, found {name!r}")
    return folder / name
