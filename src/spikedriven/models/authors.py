"""Files of the authors that `spikedriven fetch` has stored: where they are, and what
``pretrained="authors"`` reads.

Each is a safetensors file in our key names, called NAME.TAG.safetensors. Its header says what it
is.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from spikedriven.errors import CheckpointError, InputError
from spikedriven.files import cache_folder
from spikedriven.models.containers import read_packed
from spikedriven.models.header import read_header
from spikedriven.models.official import bytes_of, load_packed
from spikedriven.models.tags import PublishedFile, find_file, list_files

#: The word that stands for these files: ``pretrained="authors"``, ``--checkpoint authors``.
AUTHORS = "authors"


def authors_folder() -> Path:
    """Where the files are kept: ``authors`` in the cache folder."""
    return cache_folder() / AUTHORS


def published_file(full_name: str) -> PublishedFile:
    """The file NAME.TAG. InputError, with the tags there are, for a name without one, and for an
    unknown one."""
    if "." not in full_name:
        known = ", ".join(file.full_name for file in list_files(f"{full_name}.*")) or "none"
        raise InputError(
            f"{full_name} names a network; expected one of its authors' files, NAME.TAG: {known}"
        )
    return find_file(full_name)


def stored_path(full_name: str) -> Path:
    """Where the file NAME.TAG is, or would be, stored."""
    return authors_folder() / f"{full_name}.safetensors"


def stored_file(full_name: str) -> Path:
    """The stored file NAME.TAG. InputError, with the command that fetches it, where it is not
    there."""
    published_file(full_name)
    path = stored_path(full_name)
    if not path.is_file():
        raise InputError(
            f"the authors' file of {full_name} is not on this machine ({path}); nothing is "
            "downloaded unasked. Fetch "
            f"it with: spikedriven fetch {full_name}"
        )
    return path


def stored_keywords(full_name: str) -> dict[str, Any]:
    """Keywords of the network that the stored file NAME.TAG is for."""
    path = stored_file(full_name)
    found = read_header(path)
    if found is None:
        again = f"spikedriven fetch {full_name} --force"
        raise CheckpointError(
            f"{path}: its header does not say what it is. Fetch it again: {again}"
        )
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in found.args.items()
    }


def load_authors(model: nn.Module, full_name: str) -> None:
    """Put the stored file into a model, strictly, or into the backbone that timm's
    ``features_only`` wraps: that one has no layers behind its last map."""
    network = getattr(model, "model", model)
    packed = read_packed(stored_file(full_name), needed=bytes_of(network))
    if network is not model:
        own = network.state_dict().keys()
        packed = replace(
            packed, tensors={key: packed.tensors[key] for key in own & packed.tensors.keys()}
        )
    load_packed(network, packed)
