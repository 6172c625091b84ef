"""What a page was made with: versions, machine, source."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

from spikedriven.errors import SpikedrivenError

PACKAGES = (
    "spikedriven",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "safetensors",
    "pillow",
    "matplotlib",
)


def environment() -> dict[str, str]:
    """Name -> value, for the page's last table."""
    return {
        **{name: _version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none used",
        "source": source_commit() or "an installed package, no git checkout",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def processor() -> str:
    """The name of the CPU."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_fact(*names: str) -> str:
    """What /proc/cpuinfo says of the first core under the first of these names; "" where it
    says nothing (no Linux).
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    facts = (line.partition(":")[2].strip() for line in lines if line.startswith(names))
    return next(facts, "")


def source_commit() -> str | None:
    """The git commit that this package's own files are tracked in, and whether they were
    changed since.
    """
    folder = Path(__file__).parents[1]
    try:
        if not _git(folder, "ls-files", "--", "__init__.py"):
            return None
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
        return _git(folder, "rev-parse", "HEAD") + (" with uncommitted changes" if changed else "")
    except (SpikedrivenError, OSError):  # no repository, or no git
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SpikedrivenError(done.stderr.strip())
    return done.stdout.strip()
