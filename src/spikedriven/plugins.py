"""Plugins: modules of your own that register families, neurons, surrogates, data sets and recipes.

Every command reads three places, in this order:

* installed packages, which name theirs in their pyproject.toml:
  ``[project.entry-points."spikedriven.plugins"]`` and below it ``own = "own_network"``,
* the variable SPIKEDRIVEN_PLUGINS: names with commas between,
* ``--plugin own_network``, before or after the command, as often as wanted.

A plugin is a module, which registers while it is imported, or ``module:function``, a function
without arguments that registers. In Python, ``import own_network`` is all there is to do.

Files never import anything: a recipe or a run says which plugins it needs, and whoever reads it is
told which are missing.
"""

import importlib
import importlib.abc
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from spikedriven.errors import InputError, SpikedrivenError

#: The entry points of installed packages.
GROUP = "spikedriven.plugins"
VARIABLE = "SPIKEDRIVEN_PLUGINS"
OPTION = "--plugin"

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")
#: In the order of loading, each once.
_loaded: list[str] = []
#: Those that a user named, whose runs say that they need them.
_named: list[str] = []


def split_option(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the other words, the values of --plugin), in both spellings of an option.

    The value is "" where the option is the last word; `load_plugins` then says what is missing.
    """
    rest: list[str] = []
    names: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option == OPTION:
            names.append(value if equals else next(words, ""))
        else:
            rest.append(word)
    return rest, names


def load_plugins(names: Iterable[str] = ()) -> None:
    """Load the plugins of installed packages, of SPIKEDRIVEN_PLUGINS, and the given ones.

    Child processes find the named ones in the variable. InputError for a plugin that is not there
    or that raises; nothing happens for one that was loaded before.
    """
    metadata = importlib.import_module(
        "importlib.metadata"
    )  # 4 MB that a program alone does without
    for entry in metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist is not None else "?"
        name = entry.value.partition("[")[0].strip()
        _load(name, f"plugin {entry.name!r} of the package {package}")
    wanted = [(name, VARIABLE) for name in _listed(os.environ.get(VARIABLE, ""))]
    wanted += [(name, OPTION) for name in names]
    for name, origin in wanted:
        _search_here()
        _load(name, f"{origin} {name}")
        if name not in _named:
            _named.append(name)
    if _named:
        os.environ[VARIABLE] = ",".join(_named)


def named_plugins() -> tuple[str, ...]:
    """Those that --plugin and SPIKEDRIVEN_PLUGINS have named and that were loaded."""
    return tuple(_named)


def missing_plugins(names: Iterable[str]) -> list[str]:
    """Those of the names that are neither loaded nor, in a script, imported."""
    return [name for name in names if name not in _loaded and name not in sys.modules]


def how_to_load(names: Sequence[str]) -> str:
    """What to do about missing plugins, for the end of a message."""
    options = " ".join(f"{OPTION} {name}" for name in names)
    modules = ", ".join(name.partition(":")[0] for name in names)
    variable = f"{VARIABLE}={','.join(names)}"
    return f"add {options} to the command, or set {variable}; in Python: import {modules}"


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _search_here() -> None:
    """Python finds modules of the current folder, as with ``python -m``."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _load(name: str, called: str) -> None:
    """called: how messages name the plugin."""
    if name in _loaded:
        return
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{called}: expected the name of a module, such as own_network or package.module, or "
            f"module:function; found {name!r}. A path is not a name: go to the folder of the file "
            "and leave .py out"
        )
    module_name, _, path = name.partition(":")
    found: Any = _imported(module_name, called)
    if path:
        _call(found, path, called)
    _loaded.append(name)


def _call(found: Any, path: str, called: str) -> None:
    module_name = found.__name__
    for attribute in path.split("."):
        found = getattr(found, attribute, None)
    if not callable(found):
        raise InputError(f"{called}: the module {module_name} has no function {path}")
    try:
        found()
    except Exception as error:
        raise InputError(_failed(called, error)) from error


def _imported(name: str, called: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise InputError(_not_found(error.name, called)) from error
        raise InputError(_failed(called, error)) from error
    except Exception as error:
        raise InputError(_failed(called, error)) from error


def _not_found(name: str, called: str) -> str:
    folders = ", ".join(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))
    return (
        f"{called}: there is no module {name!r}. Searched: {folders}. Go to the folder in which "
        f"{name}.py lies, or name that folder in PYTHONPATH, or install the package with pip"
    )


def _failed(called: str, error: Exception) -> str:
    """A plugin's own error: ours in its own words, others with the line that raised them."""
    if isinstance(error, SpikedrivenError):
        return f"{called}: {error}"
    if isinstance(error, SyntaxError):
        return f"{called}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if not frame.filename.startswith("<frozen")][-1]
    return f"{called}: {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


class _After(importlib.abc.MetaPathFinder):
    """Imports a module of ours once another module was imported."""

    def __init__(self, other: str, ours: str) -> None:
        self.other, self.ours = other, ours

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.other:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Followed(spec.loader, self.ours)
        return spec


class _Followed(importlib.abc.Loader):
    def __init__(self, loader: Any, ours: str) -> None:
        self.loader, self.ours = loader, ours

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self.loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        importlib.import_module(self.ours)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def import_after(other: str, ours: str) -> None:
    """Import a module of ours as soon as another one is imported; at once where it is there
    already.

    timm's registry must know our names whichever of the two packages a user imports first.
    """
    if other in sys.modules:
        importlib.import_module(ours)
    else:
        sys.meta_path.insert(0, _After(other, ours))
