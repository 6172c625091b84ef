"""Folders of classes: every picture is taken or named."""

import logging

import numpy as np
import pytest
from PIL import Image

from spikedriven.data import create_dataset
from spikedriven.data.class_folders import read_class_folders
from spikedriven.data.images import endings
from spikedriven.errors import DataError
from tests.data.conftest import ImageFolderMaker, photo


def test_files_are_in_the_order_of_torchvision(image_folder: ImageFolderMaker):
    folder = image_folder(per_class=11) / "train"
    (folder / "ant" / "deeper").mkdir()
    photo(0).save(folder / "ant" / "deeper" / "A.JPG")
    torchvision = pytest.importorskip("torchvision.datasets").ImageFolder(str(folder))
    found = read_class_folders(folder)
    assert [found.where(i) for i in range(len(found))] == [path for path, _ in torchvision.samples]
    assert (
        found.targets.tolist() == torchvision.targets and list(found.classes) == torchvision.classes
    )


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "webp", "png", "avif"])
def test_pictures_of_every_kind_that_is_read_are_taken(image_folder: ImageFolderMaker, kind: str):
    if f".{kind}" not in endings():
        pytest.skip(f"this Pillow reads no {kind}")
    root = image_folder()
    photo(7).save(root / "train" / "bee" / f"more.{kind}", kind)
    found = create_dataset("imagenet", "train", root=root)
    assert len(found) == 13 and all(found[i][0].mode == "RGB" for i in range(13))


@pytest.mark.parametrize("name", ["a.heic", "a.HEIC", "a.jxl", "a.svg", "a.dcm", "deep/a.cr2"])
def test_pictures_that_are_not_read_are_named(image_folder: ImageFolderMaker, name: str):
    root = image_folder()
    path = root / "train" / "bee" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    ending = path.suffix.lower()
    message = rf"{path}: \{ending} files are not read \(1 such .*convert them to PNG or JPEG"
    with pytest.raises(DataError, match=message):
        create_dataset("imagenet", "train", root=root)


def test_a_class_of_such_pictures_alone_is_named_too(image_folder: ImageFolderMaker):
    root = image_folder()
    for path in (root / "train" / "bee").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"0\.heic: \.heic files are not read"):
        create_dataset("imagenet", "train", root=root)


def test_other_files_are_told_and_hidden_ones_are_not(
    image_folder: ImageFolderMaker, caplog: pytest.LogCaptureFixture
):
    root = image_folder()
    for name in (".DS_Store", "Thumbs.db", "._0.jpg"):
        (root / "train" / "ant" / name).write_bytes(b"")
    create_dataset("imagenet", "train", root=root)
    assert not caplog.messages
    for name in ("notes.txt", "boxes.json", "more.json", "README"):
        (root / "train" / "ant" / name).write_bytes(b"")
    assert len(create_dataset("imagenet", "train", root=root)) == 12
    (message,) = caplog.messages
    assert "passed over: 1 without ending, 2 .json, 1 .txt (the first:" in message


@pytest.mark.parametrize(
    ("names", "told"), [(("0", "1", "10", "2"), True), (("00", "01", "10"), False)]
)
def test_numbers_as_names_are_told_where_their_order_is_that_of_text(
    image_folder: ImageFolderMaker,
    caplog: pytest.LogCaptureFixture,
    names: tuple[str, ...],
    told: bool,
):
    with caplog.at_level(logging.WARNING, logger="spikedriven"):
        found = create_dataset("imagenet", "train", root=image_folder(names, per_class=1))
    assert found.classes == names
    assert ["output 0 is 0, 1 is 1, 2 is 10" in message for message in caplog.messages] == [
        True
    ] * told


def test_what_a_folder_gives_is_the_picture_as_it_is_shown(image_folder: ImageFolderMaker):
    root, exif = image_folder(per_class=1), Image.Exif()
    exif[0x0112] = 3
    photo(1).save(root / "train" / "ant" / "0.png", exif=exif)
    (root / "train" / "ant" / "0.jpg").unlink()
    found = np.asarray(create_dataset("imagenet", "train", root=root)[0][0])
    assert np.array_equal(found, np.asarray(photo(1))[::-1, ::-1])
