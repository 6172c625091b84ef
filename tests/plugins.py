"""What plugins leave behind in a process, taken back."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from timm.models import _registry as timm_registry

from spikedriven import plugins, recipes
from spikedriven.data.contract import SETS
from spikedriven.models import registry
from spikedriven.neurons import registry as neurons
from spikedriven.neurons import surrogate

_DICTIONARIES: tuple[dict[str, Any], ...] = (
    registry._VARIANTS,
    registry._CLASSES,
    neurons._NEURONS,
    surrogate.SURROGATES,
    surrogate._DEFINED,
    SETS,
    timm_registry._model_entrypoints,
)
_LISTS: tuple[list[Any], ...] = (plugins._loaded, plugins._named, recipes._folders, sys.path)


@contextmanager
def taken_back() -> Iterator[None]:
    """Registries, the search path and the variable are afterwards what they were before."""
    before = (
        [dict(known) for known in _DICTIONARIES],
        [list(known) for known in _LISTS],
        set(sys.modules),
    )
    variable = os.environ.pop(plugins.VARIABLE, None)
    try:
        yield
    finally:
        _restore(*before)
        os.environ.pop(plugins.VARIABLE, None)
        if variable is not None:
            os.environ[plugins.VARIABLE] = variable


def _restore(dictionaries: list[dict[str, Any]], lists: list[list[Any]], modules: set[str]) -> None:
    for known, was in zip(_DICTIONARIES, dictionaries, strict=True):
        known.clear()
        known.update(was)
    for items, were in zip(_LISTS, lists, strict=True):
        items[:] = were
    for name in sys.modules.keys() - modules:  # those of plugins; others would be loaded twice
        if name.partition(".")[0].startswith("own_"):
            del sys.modules[name]
