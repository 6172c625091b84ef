"""Transfers of files that authors link: from Google Drive or over https, continued where they broke
off.

The transfer is gdown's, which knows Drive's pages. Links that need a browser are recognised before.
"""

import inspect
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.unpickle import is_web_page

#: Seconds to wait for a server to connect, and between two pieces of a file.
TIMEOUT = (20.0, 60.0)
RETRIES = 3


def needs_browser(url: str) -> str:
    """Why a link cannot be fetched by a program, in words for the user; "" where it can."""
    parts = urlsplit(url)
    if parts.hostname in ("pan.baidu.com", "yun.baidu.com"):
        password = parse_qs(parts.query).get("pwd", [""])[0]
        return "Baidu gives its files to browsers only" + (
            f"; the password is {password}" if password else ""
        )
    if parts.hostname == "drive.google.com" and "/folders/" in parts.path:
        return "the link leads to a folder, and nothing says which of its files this is"
    return ""


def download(url: str, target: Path) -> Path:
    """Put the file behind a link into `target`, and return that.

    A transfer that breaks off is continued, up to `RETRIES` times, and by the next call. `target`
    appears when it is whole; one that is there already is kept. Raises InputError without gdown, or
    for a link that is not https, and CheckpointError, with the reason, where the file does not
    come.
    """
    try:
        import gdown
        import requests
    except ImportError as error:
        raise InputError(
            f"fetching needs gdown: pip install 'spikedriven[fetch]' ({error})"
        ) from error
    if "retries" not in inspect.signature(gdown.download).parameters:
        raise InputError("this gdown is too old: pip install --upgrade 'spikedriven[fetch]'")
    place = _place(url)
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(
            place,
            output=str(target),
            quiet=not sys.stderr.isatty(),
            use_cookies=False,
            resume=True,
            retries=RETRIES,
            timeout=TIMEOUT,
        )
    except gdown.exceptions.FileURLRetrievalError as error:
        raise CheckpointError(f"Google Drive gives no file at {url}: {_reason(error)}") from error
    except (gdown.exceptions.DownloadError, requests.exceptions.RequestException, OSError) as error:
        raise CheckpointError(
            f"{url} could not be fetched: {_first(str(error))}{_kept(target.parent)}"
        ) from error
    _refuse_page(url, target)
    return target


def _refuse_page(url: str, target: Path) -> None:
    with target.open("rb") as file:
        page = is_web_page(file.read(512))
    if page:
        target.unlink()
        raise CheckpointError(f"{url} gave a web page in place of the file")


def _place(url: str) -> str:
    """The link as gdown knows it; of Google Drive, whatever page of the file the authors link."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise InputError(f"{url}: expected a link that begins with https://")
    if parts.hostname not in ("drive.google.com", "docs.google.com"):
        return url
    found = re.search(r"/d/([\w-]+)", parts.path)
    name = found[1] if found else parse_qs(parts.query).get("id", [""])[0]
    if not name:
        raise InputError(f"{url}: this link to Google Drive names no file")
    return f"https://drive.google.com/uc?id={name}"


def _kept(folder: Path) -> str:
    """What is left of a transfer that broke off, in words for the user."""
    parts = [path for path in folder.glob("*.part") if path.stat().st_size]
    said = ". What has arrived is kept, and the next call goes on from there; to begin anew, delete"
    return f"{said} {parts[0]}" if parts else ""


def _reason(error: Exception) -> str:
    """What Drive's page says, without gdown's own advice around it."""
    paragraphs = str(error).split("\n\n")
    said = " ".join(paragraphs[1 if len(paragraphs) > 1 else 0].split()).partition(" Check FAQ")[0]
    return (
        f"{said.rstrip('.')}. Often so many people have fetched it that it is held back for a day; "
        "or its authors "
        "have made it private"
    )


def _first(text: str) -> str:
    """The first sentence of a message, as one line."""
    return " ".join(text.split("\n")[0].split()).rstrip(".:")
