"""What a figure was measured on."""

import importlib.metadata
import os
import platform
from typing import Any

from spikedriven.errors import InputError
from spikedriven.kernels.extension import instruction_sets
from spikedriven.report.environment import cpu_fact, environment

#: Instruction sets that decide how fast dense and event-driven arithmetic run.
FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512vbmi",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
#: Our instruction set -> what PyTorch and oneDNN call the same.
HELD = {
    "avx512": ("avx512", "AVX512_CORE_VNNI"),
    "avx512bw": ("avx512", "AVX512_CORE"),
    "avxvnni": ("avx2", "AVX2_VNNI"),
    "avx2": ("avx2", "AVX2"),
}
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


def hold_to(isa: str) -> None:
    """Processes that start from now on keep to an instruction set: this package, PyTorch and
    oneDNN. ONNX Runtime cannot be held. InputError where this machine cannot run it.
    """
    if isa not in instruction_sets():
        runs = ", ".join(instruction_sets()) or "no kernels of ours"
        raise InputError(f"this machine cannot run {isa}; it runs {runs}")
    aten, onednn = HELD.get(isa, ("default", "SSE41"))
    os.environ |= {
        "SPIKEDRIVEN_ISA": isa,
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
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
    return set(cpu_fact("flags", "Features").split())
