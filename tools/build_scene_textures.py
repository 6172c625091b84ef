"""Builds scene-textures.npz, the backgrounds of fashion-scenes that ship inside the package.

    python tools/build_scene_textures.py FOLDER [--output FILE]

FOLDER holds brick.png, grass.png and gravel.png, 512x512 grey, as scikit-image 0.26.0 distributes
them in its folder skimage/data (all three under CC0, see
src/spikedriven/data/embedded/scene-textures-ORIGIN.md). Of each, the top left quarter becomes a
train texture and the bottom right quarter a test texture, so that the two splits share no pixel.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from spikedriven.data.scenes.textures import EMBEDDED_FILE

SOURCES = {
    "brick": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "grass": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
}
SIDE = 256


def read(path: Path, sha256: str) -> np.ndarray:
    """uint8 [512, 512]; an error where the file is not the one that was published."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise SystemExit(f"{path}: sha256 {found}, expected {sha256}")
    return np.asarray(Image.open(path))


def build(source: Path, output: Path) -> str:
    """Writes the archive and returns its SHA-256."""
    textures = [read(source / f"{name}.png", sha256) for name, sha256 in SOURCES.items()]
    train = np.stack([texture[:SIDE, :SIDE] for texture in textures])
    test = np.stack([texture[-SIDE:, -SIDE:] for texture in textures])
    temporary = output.with_suffix(".partial.npz")
    np.savez_compressed(temporary, train=train, test=test, names=np.array(list(SOURCES)))
    temporary.replace(output)
    return hashlib.sha256(output.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder with the three PNG files")
    parser.add_argument("--output", type=Path, default=EMBEDDED_FILE)
    options = parser.parse_args()
    print(f"{options.output}: sha256 {build(options.source, options.output)}")
    print("EMBEDDED_SHA256 in src/spikedriven/data/scenes/textures.py must hold this value.")


if __name__ == "__main__":
    main()
