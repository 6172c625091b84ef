"""What a figure was measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from spikedriven.report.environment import environment

#: Instruction sets that decide how fast dense and event-driven arithmetic run.
FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni",
    "avx512vbmi", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
RUNTIMES = ("onnxruntime", "onnx", "openvino")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Versions and processor, the flags that matter, usable cores, and how busy the machine is now.

    device: what contestants run on; a GPU that none uses is not named.
    """
    found = {
        key: value for key, value in environment().items() if key != "threads of torch"
    }  # each has its own
    return {
        **found,
        "GPU": found["GPU"] if device == "cuda" else "none used",
        **{name: _version(name) for name in RUNTIMES},
        "flags": [flag for flag in FLAGS if flag in _flags()],
        "usable_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "architecture": platform.machine(),
        "load": load(),
    }


def load() -> float | None:
    """Mean number of busy cores over the last minute; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        return set()
    found = [
        line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))
    ]
    return set(found[0]) if found else set()
