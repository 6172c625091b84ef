"""A progress bar on stderr: in a terminal, and in a notebook with or without ipywidgets."""

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress_bar(items: Iterable[Item], what: str) -> Iterator[Item]:
    """The items, with a bar beside them that goes away at the end.

    rich draws widgets in a notebook. Where ipywidgets is missing it would draw nothing: the bar is
    then a line of text, as in a terminal.
    """
    console = Console(stderr=True)
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        console = Console(stderr=True, force_jupyter=False, force_terminal=True)
    yield from track(items, what, console=console, transient=True)
