"""The one door to the compiled extension. Nothing else in the package imports it."""

import importlib
from types import ModuleType

from spikedriven.errors import InputError

_native: ModuleType | None
try:
    _native = importlib.import_module("spikedriven.kernels._native")
    _native.instruction_sets()
except ImportError:  # installed without a compiler: readable twins compute the same
    _native = None
except ValueError as error:  # SPIKEDRIVEN_ISA holds something else than an instruction set
    raise InputError(str(error)) from error


def extension() -> ModuleType | None:
    """The compiled extension; None where the package was installed without a compiler."""
    return _native


def available() -> bool:
    """Whether the extension was built."""
    return extension() is not None


def loaded() -> ModuleType:
    """The compiled extension, for callers that know it is there."""
    native = extension()
    assert native is not None
    return native


def instruction_sets() -> list[str]:
    """Kernels this machine can run, the widest first; empty without the extension."""
    native = extension()
    return native.instruction_sets() if native else []
