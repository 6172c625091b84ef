"""What a safetensors file says of its network, in its header: written by `spikedriven convert` and
`fetch`.

Under the key "spikedriven" stands JSON: the registered name, the tag, the keywords, the authors'
file.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from spikedriven.errors import CheckpointError

HEADER_KEY = "spikedriven"


@dataclass(frozen=True)
class Provenance:
    """name: registered name. tag: of the published file, "": none. args: keywords of
    `create_model`. converted_from: name of the authors' file. where: where this is written, for
    messages."""

    name: str
    tag: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    converted_from: str = ""
    where: str = ""


def header(found: Provenance) -> dict[str, str]:
    """The metadata of a safetensors file, which `read_header` reads back."""
    content = {
        "name": found.name,
        "tag": found.tag,
        "args": found.args,
        "converted_from": found.converted_from,
    }
    return {"format": "pt", HEADER_KEY: json.dumps(content)}


def read_header(path: Path) -> Provenance | None:
    """What a safetensors file says of itself; None: nothing. CheckpointError where it is
    damaged."""
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    if text is None:
        return None
    try:
        content = json.loads(text)
        name, tag, args = content["name"], content["tag"], content["args"]
        if not isinstance(name, str) or not isinstance(tag, str) or not isinstance(args, dict):
            raise TypeError(f"name, tag and args: {name!r}, {tag!r}, {args!r}")
        return Provenance(name, tag, args, str(content["converted_from"]), "its header")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: what its header says of the network cannot be read ({type(error).__name__}: "
            f"{error}). Convert "
            "the authors' file again"
        ) from error
