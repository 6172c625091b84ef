"""Predict pictures with a trained network: classes, objects with boxes and masks, a class for every
pixel, or, for masked pre-training, the hidden patches.

Example:

    spikedriven predict runs/quickstart shoe.png shirt.png
    spikedriven predict runs/fashion_scenes_semantic_fpn scene.png --out drawn
    spikedriven predict runs/fashion_scenes_mask_rcnn scene.png --score 0.7 --json
    spikedriven predict runs/study_mae_pretrain shirt.png      (picture, masked, predicted, pasted)
    spikedriven predict sdt_8_768.in1k_288 cat.jpg --checkpoint authors.pth.tar

Writes one PNG a picture into --out: the picture with what was predicted; of a segmenter also
NAME-labels.png, whose grey value is the class of the pixel.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from spikedriven.cli.arguments import parse
from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.report.drawing import figure_png, png_bytes
from spikedriven.report.predictions import Prediction, class_names, predict_picture
from spikedriven.runs.target import Target, load_target, preprocessing


@dataclass(frozen=True, kw_only=True)
class Arguments(Target):
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
    """Pictures."""
    out: Path = Path("predictions")
    """Folder for the PNG files."""
    score: float = 0.5
    """Objects with a lower score are left out."""
    top: int = 5
    """Number of classes that a classifier names."""
    json: bool = False
    """Print JSON instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, predict, write the pictures, print what was found."""
    arguments = parse(Arguments, argv, "predict", __doc__)
    if not arguments.images:
        raise InputError("name at least one picture: spikedriven predict RUN_OR_MODEL IMAGE...")
    if not 0 <= arguments.score <= 1 or arguments.top < 1:
        raise InputError(
            f"--score {arguments.score}, --top {arguments.top}: expected 0 to 1, and at least 1"
        )
    loaded = load_target(arguments)
    if not loaded.trained:
        raise InputError(
            f"{arguments.target} has random weights: give a run folder, or --checkpoint FILE"
        )
    data = loaded.data or preprocessing(loaded.model, loaded.file)
    classes = class_names(loaded.model, loaded.data)
    records = []
    for path, name in zip(arguments.images, _names(arguments.images), strict=True):
        found = predict_picture(loaded.model, data, path, classes, arguments.score, arguments.top)
        records.append({"image": str(path), **found.record, **_write(found, arguments, path, name)})
    print(
        json.dumps(records, indent=1)
        if arguments.json
        else "\n".join(_told(record) for record in records)
    )
    return 0


def _names(images: tuple[Path, ...]) -> list[str]:
    """What the written files are called: the pictures' stems, numbered where they repeat."""
    taken: dict[str, int] = {}
    names = []
    for path in images:
        taken[path.stem] = taken.get(path.stem, 0) + 1
        names.append(path.stem if taken[path.stem] == 1 else f"{path.stem}-{taken[path.stem]}")
    return names


def _write(found: Prediction, arguments: Arguments, path: Path, name: str) -> dict[str, str]:
    """Names of the files written."""
    title = f"{path.name}, {arguments.target}"
    files = {
        "drawn": str(
            write_whole(
                arguments.out / f"{name}.png", figure_png(found.panels, found.legend, title)
            )
        )
    }
    if found.labels is not None:
        files["labels"] = str(
            write_whole(arguments.out / f"{name}-labels.png", png_bytes(found.labels))
        )
    return files


def _told(record: dict[str, Any]) -> str:
    if record["task"] == "classification":
        said = [f"{row['share']:6.1%}  {row['class']}" for row in record["top"]]
    elif record["task"] == "pretraining":
        said = [_of_hidden(record)]
    elif record["task"] == "detection":
        said = [
            f"{row['score']:6.1%}  {row['class']}  box {_box(row['box'])}"
            for row in record["objects"]
        ]
        said = said or ["no object"]
    else:
        said = [f"{share:6.1%}  {name}" for name, share in record["shares"].items()]
    return "\n  ".join([f"{record['image']}: drawn in {record['drawn']}", *said])


def _of_hidden(record: dict[str, Any]) -> str:
    explained = record["explained"]
    share = (
        "the hidden patches are plain areas"
        if explained is None
        else f"explained variance {explained:.1f} %"
    )
    return (
        f"{record['hidden']} of {record['patches']} patches hidden: masked loss "
        f"{record['loss']:.4f}, {share}"
    )


def _box(box: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in box)
