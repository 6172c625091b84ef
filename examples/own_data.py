"""Four small sets in the layouts of docs/own_data.md, out of packages that pip can fetch.

    python examples/own_data.py digits data/digits     (class folders: 1,797 written digits of
    scikit-learn) python examples/own_data.py trees data/trees       (boxes, YOLO's text files: tree
    crowns of deepforest) python examples/own_data.py nuclei data/nuclei     (label maps: cell
    nuclei of stardist) python examples/own_data.py clips data/clips       (recordings: simulated by
    this package)

Then `spikedriven train own_classification --data.root data/digits`, and so on. The packages are
downloaded as wheels, not installed, and none of their code is run.
"""

import argparse
import csv
import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spikedriven.data import config_for, create_dataset
from spikedriven.data.events import save_events

sys.path.insert(0, str(Path(__file__).parent))
import natural_images  # the wheels of trees and nuclei, and how they are cut into tiles

DIGITS = ("scikit_learn", "1.8.0")
#: Clips of each class, and classes, of the simulated recordings.
CLIPS, MOTIONS = 12, 4


def digits(folder: Path, wheels: Path) -> None:
    """FOLDER/CLASS/N.png: 8 x 8 pixels of 0 to 16, written four times as large."""
    wheel = natural_images.fetch(*DIGITS, wheels)
    table = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode()
    for number, row in enumerate(csv.reader(table.splitlines())):
        *pixels, label = (int(float(value)) for value in row)
        grey = np.array(pixels, dtype=np.float32).reshape(8, 8) / 16 * 255
        large = np.kron(grey, np.ones((4, 4))).astype(np.uint8)
        save(Image.fromarray(large), folder / label_name(label) / f"{number:04d}.png")


def label_name(label: int) -> str:
    """The class folder of a digit."""
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return names[label]


def tiles(kind: str, wheels: Path) -> Any:
    """(part, number, picture, masks of the objects) of each tile."""
    wheel = natural_images.fetch(*natural_images.PACKAGES[kind], wheels)
    side, step, _ = natural_images.TILES[kind]
    for part, own in (("train", "train"), ("test", "val")):
        image, masks = {"trees": natural_images.trees, "nuclei": natural_images.nuclei}[kind](
            wheel, part
        )
        stride = step if part == "train" else side
        rows, columns = (range(0, size - side + 1, stride) for size in image.shape[:2])
        for number, (top, left) in enumerate((top, left) for top in rows for left in columns):
            place = slice(top, top + side), slice(left, left + side)
            yield own, number, image[place], [mask[place] for mask in masks if mask[place].any()]


def trees(folder: Path, wheels: Path) -> None:
    """FOLDER/images/PART/N.png, FOLDER/labels/PART/N.txt and FOLDER/data.yaml: YOLO's layout."""
    for part, number, picture, masks in tiles("trees", wheels):
        save(Image.fromarray(picture), folder / "images" / part / f"{number}.png")
        lines = [yolo_line(mask) for mask in masks]
        write(folder / "labels" / part / f"{number}.txt", "\n".join(lines))
    write(folder / "data.yaml", "names: [tree]\n")


def yolo_line(mask: np.ndarray) -> str:
    """Class 0, centre, width and height of what a mask covers, as shares of the picture."""
    ys, xs = np.nonzero(mask)
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    height, width = mask.shape
    values = (left + right) / 2 / width, (top + bottom) / 2 / height
    values += ((right - left) / width, (bottom - top) / height)
    return " ".join(["0", *(f"{value:.6f}" for value in values)])


def nuclei(folder: Path, wheels: Path) -> None:
    """FOLDER/images/PART/N.png, FOLDER/masks/PART/N.png and FOLDER/names.txt."""
    for part, number, picture, masks in tiles("nuclei", wheels):
        save(Image.fromarray(picture), folder / "images" / part / f"{number}.png")
        labels = np.zeros(picture.shape[:2], dtype=np.uint8)
        for mask in masks:
            labels[mask] = 1
        save(Image.fromarray(labels), folder / "masks" / part / f"{number}.png")
    write(folder / "names.txt", "background\nnucleus\n")


def clips(folder: Path, wheels: Path) -> None:
    """FOLDER/CLASS/N.npz: garments that hop, by the direction of the hops; simulated, not
    recorded.
    """
    cfg = config_for("fashion-events", labels="direction", split_by="time", time_steps=8)
    dataset = create_dataset(cfg, "train")
    counts = dict.fromkeys(dataset.classes[:MOTIONS], 0)
    for index, label in enumerate(dataset.targets.tolist()):
        name = dataset.classes[label]
        if counts.get(name, CLIPS) < CLIPS:
            counts[name] += 1
            path = folder / name / f"{index}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_events(path, dataset.events(index))


def save(picture: Image.Image, path: Path) -> None:
    """As PNG; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def write(path: Path, text: str) -> None:
    """A text file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


KINDS = {"digits": digits, "trees": trees, "nuclei": nuclei, "clips": clips}


def main() -> None:
    """Write one of the sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--wheels", type=Path, default=Path("data/wheels"), help="where downloads are kept"
    )
    arguments = parser.parse_args()
    KINDS[arguments.kind](arguments.folder, arguments.wheels)
    print(f"{arguments.kind} written to {arguments.folder}")


if __name__ == "__main__":
    main()
