"""Large tensors on a CPU in memory of their own (`arena.cpp`): what one tensor leaves fits the next
of its size.

PyTorch's allocator for CPUs can only be replaced from C++, by code compiled for the PyTorch that is
there. So this is compiled at its first use, in two seconds, and kept in
~/.cache/spikedriven/native. Without a C++ compiler, or on another system than Linux, tensors stay
where they are: in the C library's heap, which wastes more.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from spikedriven.files import cache_folder

SOURCE = Path(__file__).with_name("arena.cpp")
COMPILE_TIMEOUT_S = 120


@dataclass(frozen=True)
class Figures:
    """Bytes of tensors in the arena: now, at most so far, and how far the arena reached for
    them.
    """

    used: int
    peak: int
    extent: int


@functools.cache
def use_arena() -> str | None:
    """Put CPU tensors of 16 KiB and more into the arena from here on, for the whole process.

    Returns None, or the reason why PyTorch's allocator stays. Tensors that exist already stay where
    they are.
    """
    try:
        library = _load()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    return (
        None if library.arena_install() else "the system refuses addresses (ulimit -v, overcommit)"
    )


def figures() -> Figures:
    """Of the arena, which must be in use."""
    assert use_arena() is None
    library = _load()
    return Figures(library.arena_used(), library.arena_peak(), library.arena_extent())


@functools.cache
def _load() -> ctypes.CDLL:
    """The compiled arena; compiled now if nobody did before. OSError, RuntimeError,
    SubprocessError if it cannot be.
    """
    if sys.platform != "linux":
        raise RuntimeError("written for Linux")
    command = _compiler()
    made_for = f"{platform.machine()} {torch.__version__} {command}"
    key = hashlib.sha256(SOURCE.read_bytes() + made_for.encode()).hexdigest()[:16]
    path = cache_folder() / "native" / f"arena-{key}.so"
    if not path.exists():
        _compile(command, path)
    library = ctypes.CDLL(str(path))
    for name in ("arena_used", "arena_peak", "arena_extent"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


def _compiler() -> list[str]:
    """The command without its output file; CXX names another compiler than c++."""
    torch_folder = Path(torch.__file__).parent
    abi = int(torch.compiled_with_cxx11_abi())
    return [
        *shlex.split(os.environ.get("CXX") or "c++"), "-O2", "-std=c++20", "-shared", "-fPIC",
        f"-D_GLIBCXX_USE_CXX11_ABI={abi}", "-isystem", str(torch_folder / "include"), str(SOURCE),
        "-L", str(torch_folder / "lib"), "-lc10",
    ]  # fmt: skip


def _compile(command: list[str], path: Path) -> None:
    """Whole or not at all: several processes may do this at once, and any of them may be killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        product = Path(folder) / path.name
        done = subprocess.run(
            [*command, "-o", str(product)],
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
        product.replace(path)
