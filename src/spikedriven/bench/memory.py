"""How much memory a contestant's process needs: as the system sees it, and in tensors of
PyTorch.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Memory:
    """Megabytes, each the most at any time.

    peak: what the process held. own: how much of it came after importing torch and this package.
    tensors: what PyTorch's allocator had given out, weights and gradients included (on a GPU: of
    the GPU's memory); None where contestants are not all PyTorch's. It depends on what is computed
    alone, peak also on what the C library wastes.
    """

    peak: float
    own: float
    tensors: float | None = None


def process_peak() -> float:
    """Linux counts a parent's memory into a child's ``ru_maxrss``, so its own figure is taken
    where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def tensors_peak(work: Callable[[], object], device: str) -> float:
    """The most that tensors made in ``work`` take at one time on a CPU; on a GPU, the most of all
    so far.

    CPUs have no `torch.cuda.max_memory_allocated`: the profiler is told of every tensor instead,
    which is slow.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return (
        max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]")
        / 2**20
    )
