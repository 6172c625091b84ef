"""Builds fashion-mini, the part of Fashion-MNIST that ships inside the package.

    python tools/build_fashion_mini.py [--source DIR] [--output FILE]

Chosen are, per class, the 1,000 train and 200 test images whose SHA-256 of "fashion-mini SPLIT
INDEX" is smallest (INDEX: position in the original file), in original order. No random generator
takes part: any language can repeat it. Needs the four original .gz files, for instance from
Debian's package dataset-fashion-mnist.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from spikedriven.data.fashion import CLASSES, DEBIAN_FOLDER, EMBEDDED_FILE, load_full

PER_CLASS = {"train": 1000, "test": 200}


def choose(split: str, labels: np.ndarray) -> np.ndarray:
    """The original positions of the chosen images of one split, ascending, int64 `[10 *
    PER_CLASS[split]]`.
    """
    keys = (f"fashion-mini {split} {index}" for index in range(len(labels)))
    rank = np.array([hashlib.sha256(key.encode()).hexdigest() for key in keys])
    chosen = []
    for label in range(len(CLASSES)):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(rank[members], kind="stable")[: PER_CLASS[split]]])
    return np.sort(np.concatenate(chosen))


def build(source: Path, output: Path) -> str:
    """Writes the archive and returns its SHA-256."""
    arrays = {}
    for split in PER_CLASS:
        full = load_full(source, split, download=False)
        index = choose(split, full.targets)
        arrays[f"{split}_images"] = full.images[index]
        arrays[f"{split}_labels"] = full.targets[index].astype(np.uint8)
        arrays[f"{split}_index"] = index.astype(np.uint16)
    temporary = output.with_suffix(".partial.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(output)
    return hashlib.sha256(output.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, default=DEBIAN_FOLDER, help="folder with the four original files"
    )
    parser.add_argument("--output", type=Path, default=EMBEDDED_FILE)
    options = parser.parse_args()
    print(f"{options.output}: sha256 {build(options.source, options.output)}")
    print("EMBEDDED_SHA256 in src/spikedriven/data/fashion.py must hold this value.")


if __name__ == "__main__":
    main()
