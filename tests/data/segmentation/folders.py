"""ADE20K and VOC folders as they are distributed, with a handful of small images."""

from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image


def picture(path: Path, height: int, width: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def label_map(path: Path, values: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image = image.convert("P")
        image.frombytes(values.astype(np.uint8).tobytes())
        image.putpalette([i for i in range(256) for _ in range(3)])
    image.save(path)


def quarters(height: int, width: int, values: tuple[int, int, int, int]) -> np.ndarray:
    """A label map of four rectangles."""
    labels = np.empty((height, width), dtype=np.uint8)
    h, w = height // 2, width // 2
    labels[:h, :w], labels[:h, w:], labels[h:, :w], labels[h:, w:] = values
    return labels


def make_ade(
    root: Path, counts: tuple[int, int] = (5, 3), size: tuple[int, int] = (30, 44)
) -> Path:
    folder = root / "ADEChallengeData2016"
    for part, count in zip(("training", "validation"), counts, strict=True):
        for i in range(count):
            name = f"ADE_{part[:3]}_{i:08d}"
            picture(folder / "images" / part / f"{name}.jpg", *size, seed=i)
            label_map(
                folder / "annotations" / part / f"{name}.png", quarters(*size, (0, 1, 150, 2 + i))
            )
    return folder


def make_voc(
    root: Path, counts: tuple[int, int] = (4, 2), size: tuple[int, int] = (30, 40)
) -> Path:
    folder = root / "VOCdevkit" / "VOC2012"
    for part, count in zip(("train", "val"), counts, strict=True):
        names = [f"2007_{part}{i}" for i in range(count)]
        for i, name in enumerate(names):
            picture(folder / "JPEGImages" / f"{name}.jpg", *size, seed=i)
            label_map(
                folder / "SegmentationClass" / f"{name}.png",
                quarters(*size, (0, 20, 255, 1 + i)),
                palette=True,
            )
        lists = folder / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
    return folder


def make_voc_aug(root: Path, form: str = "mat", size: tuple[int, int] = (30, 40)) -> Path:
    """VOC with four train and two test images, and labels of SBD for three more, one train and one
    test image.

    form: "mat" (as distributed), "aug" or "trainaug" (converted to PNG, with the list of that
    name). Returns SBD's folder, or that of the PNG files.
    """
    voc = make_voc(root, size=size)
    extra = [f"2008_{i:06d}" for i in range(3)]
    for i, name in enumerate(extra):
        picture(voc / "JPEGImages" / f"{name}.jpg", *size, seed=10 + i)
    names = [*extra, "2007_train0", "2007_val0"]
    if form == "mat":
        return _sbd(root / "VOCaug" / "dataset", names, size)
    folder = voc / "SegmentationClassAug"
    for i, name in enumerate(names):
        label_map(folder / f"{name}.png", quarters(*size, (0, 9, 9, 10 + i)))
    listed = extra if form == "aug" else [*extra, "2007_train0", "2007_train1"]
    (voc / "ImageSets" / "Segmentation" / f"{form}.txt").write_text("\n".join(listed) + "\n")
    return folder


def _sbd(folder: Path, names: list[str], size: tuple[int, int]) -> Path:
    (folder / "cls").mkdir(parents=True)
    for i, name in enumerate(names):
        kind = [("Boundaries", "O"), ("Segmentation", "O"), ("CategoriesPresent", "O")]
        struct = np.zeros((1, 1), dtype=kind)
        struct["Segmentation"][0, 0] = quarters(*size, (0, 9, 9, 10 + i))
        scipy.io.savemat(folder / "cls" / f"{name}.mat", {"GTcls": struct}, do_compression=True)
    (folder / "train.txt").write_text("\n".join(names[:2]) + "\n")
    (folder / "val.txt").write_text("\n".join(names[2:]) + "\n")
    return folder
