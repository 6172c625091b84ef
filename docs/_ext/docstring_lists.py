"""Parameters in docstrings of this package as a list.

Docstrings say "name: what it is. other: what that is. Raises X for y." in running text. On the
page each known name begins an item of a list, and "Returns" and "Raises" begin a paragraph.
"""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx


def names_of(thing: Any) -> set[str]:
    """Parameters of a function, parameters and fields of a class."""
    names: set[str] = set()
    with contextlib.suppress(TypeError, ValueError):  # modules and builtins have no signature
        names.update(inspect.signature(thing).parameters)
    if isinstance(thing, type):
        names.update(*(vars(base).get("__annotations__", {}) for base in thing.__mro__))
    if dataclasses.is_dataclass(thing):
        names.update(field.name for field in dataclasses.fields(thing))
    return names


def as_list(paragraph: str, names: Iterable[str]) -> list[str]:
    """A paragraph as lines: text before the first known name, then one item for each."""
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if not known:
        return [paragraph]
    starts = rf"(?:^|(?<=[.;)] ))((?:{known})(?:, (?:{known}))*): "
    parts = re.split(starts, paragraph)
    if len(parts) == 1:
        return [paragraph]
    lines = [parts[0].strip(), ""] if parts[0].strip() else []
    after = ""
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        told, rest = _parted(text)
        lines.append(f"* **{name.replace('_', chr(92) + '_')}**: {told}")
        after = f"{after} {rest}".strip()
    return [*lines, "", after] if after else lines


def _parted(text: str) -> tuple[str, str]:
    """What belongs to a name, and what begins with "Returns" or "Raises" behind it."""
    found = re.search(r"(?<=\. )(?:Returns|Raises) ", text)
    end = len(text) if found is None else found.start()
    return text[:end].strip(), text[end:].strip()


def process(
    _app: Sphinx, _kind: str, _name: str, thing: Any, _options: Any, lines: list[str]
) -> None:
    names = names_of(thing)
    done: list[str] = []
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not line.startswith((" ", "*", "-", ">", "|", "=")):
            block.append(line.strip())
            continue
        if block:
            done += as_list(" ".join(block), names)
            block = []
        done.append(line)
    lines[:] = done


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
