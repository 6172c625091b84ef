"""Draw our split of CIFAR10-DVS: of each class 100 of its 1,000 recordings test.

    python tools/build_cifar10_dvs_split.py      (writes the package's list, prints its SHA-256)

The draw is a function of the class name. The file, not this program, is the split: it stays as it
is should a future NumPy permute differently.
"""

import hashlib
from pathlib import Path

import numpy as np

from spikedriven.data.events.cifar10_dvs import CLASSES, SPLIT_FILE
from spikedriven.data.seeding import derive_seed

RECORDINGS, TEST = 1000, 100
HEADER = (
    "# CIFAR10-DVS, test recordings of each class (numbers at the end of the file names); all "
    "others train.\n"
)


def build(path: Path) -> str:
    """Write the list; its SHA-256."""
    lines = [HEADER]
    for name in CLASSES:
        order = np.random.default_rng(derive_seed("cifar10-dvs split", name)).permutation(
            RECORDINGS
        )
        lines.append(" ".join([name, *map(str, sorted(order[:TEST].tolist()))]) + "\n")
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    SPLIT_FILE.parent.mkdir(exist_ok=True)
    print(build(SPLIT_FILE))
