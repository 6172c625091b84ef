"""Files a command writes for a person: whole or not at all."""

from pathlib import Path

from spikedriven.errors import InputError
from spikedriven.training.files import sync_folder, write_durable


def write_whole(path: Path, content: bytes, option: str = "--out") -> Path:
    """`path` holds `content` afterwards, or what it held before; InputError where it cannot be written.

    option: of the command that names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path}: cannot be written ({reason}); name another file with {option}"
        ) from error
    return path


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_durable(temporary, content)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
