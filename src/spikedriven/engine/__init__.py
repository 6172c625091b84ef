"""The event-driven CPU engine: a network as integer additions of the rows of weights whose input
fired.

Running a program needs NumPy alone; what makes programs needs torch, and is imported when it is
first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from spikedriven.engine.running import Program, load_program

if TYPE_CHECKING:
    from spikedriven.engine.compiled import compile
    from spikedriven.engine.stored_parts import load_programs, save_programs

__all__ = ["Program", "compile", "load_program", "load_programs", "save_programs"]

#: Name -> the module that has it.
_WITH_TORCH = {
    "compile": "compiled",
    "load_programs": "stored_parts",
    "save_programs": "stored_parts",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(importlib.import_module(f"spikedriven.engine.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
