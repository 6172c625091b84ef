"""Download a file that authors published, check it, and keep it for the other commands.

Example:
    spikedriven fetch e_spikeformer_171m.mae_in1k_1x8_384
    spikedriven fetch spikingformer_8_768.in1k --file 8_768.pth.tar       (downloaded in a browser)
    spikedriven eval e_spikeformer_171m.mae_in1k_1x8_384 --checkpoint authors --root /data

`spikedriven models --files` names the files. What is fetched belongs to its authors: their terms
are printed first. A file that holds more than weights, or does not fit the network of its tag, is
refused. It is stored as safetensors in SPIKEDRIVEN_CACHE/authors, else in
~/.cache/spikedriven/authors. Google Drive needs: pip install 'spikedriven[fetch]'
"""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from spikedriven.cli.arguments import parse
from spikedriven.cli.convert import told, write_converted
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.authors import authors_folder, published_file, stored_path
from spikedriven.models.containers import Weights
from spikedriven.models.create import is_dense
from spikedriven.models.download import download, needs_browser
from spikedriven.models.tags import PublishedFile
from spikedriven.runs.target import Loaded, load_checkpoint


@dataclass(frozen=True)
class Arguments:
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME.TAG")]
    """A published file, see `spikedriven models --files`."""
    file: Path | None = None
    """The authors' file, if you have downloaded it yourself. It is not moved."""
    weights: Weights = "auto"
    """Trained or averaged weights (EMA), where the file holds both. auto: the trained ones."""
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of the network that neither the tag nor the file gives; on the command line
    --model.args.KEY VALUE.
    """
    force: bool = False
    """Replace a file that is stored already."""


def run(argv: list[str]) -> int:
    """Parse `argv`, say whose file it is, get it, check it, store it."""
    arguments = parse(Arguments, argv, "fetch", __doc__)
    file, stored = published_file(arguments.name), stored_path(arguments.name)
    if stored.exists() and not arguments.force:
        if arguments.file is not None:
            raise CheckpointError(f"{stored} exists; give --force to replace it")
        print(f"{arguments.name} is stored already: {stored}\n{_use(file)}")
        return 0
    print(terms(file), flush=True)
    source = arguments.file or _downloaded(file)
    loaded = _checked(arguments, source, ours=arguments.file is None)
    _store(loaded, file, source, stored)
    shutil.rmtree(_download_folder(file), ignore_errors=True)
    print(f"{told(loaded, stored)}\n{_use(file)}")
    return 0


def terms(file: PublishedFile) -> str:
    """Whose file it is, where it comes from, and what its authors allow."""
    lines = {
        "published by": file.source,
        "link": file.url or "none: the file is not public",
        "licence": file.licence,
        "figure": file.published or "none published",
    }
    return "\n".join([file.full_name, *(f"  {name:<14}{value}" for name, value in lines.items())])


def _download_folder(file: PublishedFile) -> Path:
    return authors_folder() / "downloads" / file.full_name


def _downloaded(file: PublishedFile) -> Path:
    """The file, out of its authors' hands. Every error says how to go on by hand."""
    by_hand = f"spikedriven fetch {file.full_name} --file DOWNLOADED"
    if not file.url:
        raise InputError(
            f"no link to {file.full_name} is public. If its authors gave you the file: {by_hand}"
        )
    reason = needs_browser(file.url)
    if reason:
        called = f" ({file.filename})" if file.filename else ""
        raise InputError(
            f"{reason}. Open {file.url} in a browser, download the file{called}, and go on with: "
            f"{by_hand}"
        )
    try:
        return download(file.url, _download_folder(file) / (file.filename or "checkpoint.pth"))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}.\nIf {file.url} gives the file in a browser, go on with: {by_hand}"
        ) from error


def _checked(arguments: Arguments, source: Path, ours: bool) -> Loaded:
    """The network of the tag with the weights of the file. ours: the file was downloaded here."""
    try:
        return load_checkpoint(arguments.name, source, arguments.model_args, arguments.weights)
    except CheckpointError as error:
        kept = f"\nThe download is kept; to fetch it once more, delete {source}" if ours else ""
        raise CheckpointError(f"{error}{kept}") from error


def _store(loaded: Loaded, file: PublishedFile, source: Path, stored: Path) -> None:
    with source.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_converted(
            loaded,
            source,
            stored,
            url=file.url,
            source=file.source,
            licence=file.licence,
            sha256=digest,
        )
    except OSError as error:
        raise CheckpointError(
            f"{stored} cannot be written ({error.strerror or error}); name another folder with "
            "SPIKEDRIVEN_CACHE"
        ) from error


def _use(file: PublishedFile) -> str:
    lines = [f"use it: spikedriven eval {file.full_name} --checkpoint authors"]
    if not is_dense(file.name):
        lines.append(f'        spikedriven.create_model("{file.full_name}", pretrained="authors")')
    return "\n".join(lines)
