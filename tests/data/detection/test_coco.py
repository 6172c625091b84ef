"""The COCO reader: what it reads, and what it says about files that cannot be used."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.data import create_dataset
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.data.detection.coco import load_coco, rasterize
from spikedriven.errors import DataError
from tests.data.detection.coco_files import SIZE, content, write


def test_train_part_has_objects_only(tmp_path):
    dataset = load_coco(write(tmp_path), "train")
    assert (
        dataset.classes == ("car", "toothbrush") and dataset.num_classes == 2
    )  # in the order of their numbers
    assert (
        len(dataset) == 2 and dataset.degenerate == 1
    )  # an image without objects, a box without width
    image, target = dataset[0]
    assert image.shape == (3, *SIZE) and image.dtype == torch.uint8
    assert torch.equal(
        image, torch.from_numpy(np.array(Image.open(dataset.where(0)))).permute(2, 0, 1)
    )
    assert target["boxes"].tolist() == [[10, 5, 30, 25]] and target["labels"].tolist() == [
        2
    ]  # the crowd is left out
    assert target["masks"].shape == (1, *SIZE) and target["masks"][0, 5:25, 10:30].all()
    assert target["masks"].sum() == 400
    _, target = dataset[1]
    assert target["boxes"].tolist() == [[50, 30, 60, 40]]  # cut at the border
    assert target["masks"][0].nonzero().min(0).values.tolist()[1] >= 50


def test_test_part_keeps_crowds_and_empty_images(tmp_path):
    dataset = load_coco(write(tmp_path), "test")
    assert len(dataset) == 3
    _, target = dataset[0]
    assert target["iscrowd"].tolist() == [0, 1] and target["area"].tolist() == [400, 800]
    assert target["masks"][1].sum() == 800 and target["masks"][1, :, :20].all()
    _, target = dataset[2]
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, *SIZE)


def test_compressed_run_lengths_are_the_same_mask():
    from faster_coco_eval.core import mask as tools

    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[3:20, 7:33] = 1
    compressed = tools.encode(np.asfortranarray(mask))
    text = (
        compressed["counts"].decode()
        if isinstance(compressed["counts"], bytes)
        else compressed["counts"]
    )
    assert np.array_equal(rasterize({"size": list(SIZE), "counts": text}, *SIZE), mask)


def test_two_polygons_are_one_object():
    squares = [
        [2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0],
        [20.0, 2.0, 28.0, 2.0, 28.0, 8.0, 20.0, 8.0],
    ]
    assert rasterize(squares, *SIZE).sum() == 36 + 48


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("images", "id", 7), ("images", "file_name", "0.png"), ("categories", "id", 90)],
)
def test_what_is_given_twice_is_named(tmp_path, name: str, key: str, value: object):
    """Two files merged without numbering them anew: each picture had the boxes of both."""

    def change(instances):
        instances[name][1][key] = value

    with pytest.raises(
        DataError, match=f"{name}: the {key} {value!r} is given twice.*number them anew"
    ):
        load_coco(_changed(tmp_path, change), "test")


def test_a_picture_that_was_turned_after_its_boxes_were_drawn_is_explained(tmp_path):
    root = write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "coco" / "val2017" / "0.png"
    Image.open(path).save(path, exif=exif)
    with pytest.raises(
        DataError, match=r"40x60 pixels, but .* says 60x40.*turned by its EXIF orientation"
    ):
        load_coco(root, "test")[0]


def test_a_part_without_objects_is_refused(tmp_path):
    def change(instances):
        instances["annotations"] = [a | {"iscrowd": 1} for a in instances["annotations"][1:2]]

    root = _changed(tmp_path, change)
    for part in ("train", "test"):
        with pytest.raises(DataError, match="no image with an object in it"):
            load_coco(root, part)


def _changed(path, change):
    instances = content()
    change(instances)
    return write(path, instances)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][0].update(category_id=5),
            "annotation 1: image 7 or category 5 is not in the file",
        ),
        (
            lambda c: c["annotations"][0].update(image_id=99),
            "annotation 1: image 99 or category 90 is not",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, 3]),
            r"annotation 1: bbox must be \[x, y, width, height\]",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, "3", 4]),
            r"annotation 1: bbox must be .* found \[1, 2, '3', 4\]",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]),
            r"annotation 1: bbox must be .* nan",
        ),
        (
            lambda c: c["annotations"][0].update(area="400"),
            "annotation 1: area must be a number, found '400'",
        ),
        (
            lambda c: c["annotations"][0].update(category_id=[90]),
            r"annotation 1: image 7 or category \[90\] is not",
        ),
        (
            lambda c: c["images"][0].update(height=None),
            "image 7: expected numbers as id, height and width",
        ),
        (
            lambda c: c["images"][0].update(file_name=5),
            "image 7: expected numbers as id, .* and a file_name",
        ),
        (lambda c: c["annotations"][2].pop("bbox"), "entry 2 of 'annotations' has no bbox"),
        (lambda c: c["images"][0].pop("width"), "entry 0 of 'images' has no width"),
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c.update(annotations=[]), "no image with an object in it"),
    ],
)
def test_wrong_annotations(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load_coco(_changed(tmp_path, change), "train")


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..", "", "a\x00.png"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    with pytest.raises(
        DataError, match=r"instances_train2017\.json: image 7: expected a path below .*train2017"
    ):
        load_coco(_changed(tmp_path, lambda c: c["images"][0].update(file_name=name)), "train")


@pytest.mark.parametrize(
    "segmentation",
    [[[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0, 5.0]], "x", {"size": [1, 2], "counts": [2]},
     {"size": list(SIZE), "counts": [3, 4]}],
)  # fmt: skip
def test_wrong_masks_are_named_when_they_are_read(tmp_path, segmentation):
    dataset = load_coco(
        _changed(tmp_path, lambda c: c["annotations"][0].update(segmentation=segmentation)), "train"
    )
    with pytest.raises(
        DataError, match="annotation 1: its segmentation is neither polygons nor run lengths"
    ):
        dataset[0]


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(DataError, match=r"train2017 is missing. Unpack train2017\.zip"):
        load_coco(tmp_path, "train")
    root = write(tmp_path)
    dataset = load_coco(root, "train")
    (root / "coco" / "train2017" / "0.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"0\.png cannot be decoded"):
        dataset[0]
    (root / "coco" / "train2017" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png is missing; .*instances_train2017\.json names it"):
        dataset[0]
    Image.new("RGB", (5, 5)).save(root / "coco" / "train2017" / "0.png")
    with pytest.raises(DataError, match=r"5x5 pixels, but .* says 60x40"):
        dataset[0]
    path = root / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content())[:-20])
    with pytest.raises(DataError, match=r"instances_val2017\.json is truncated or no JSON"):
        load_coco(root, "test")
    path.write_text("[]")
    with pytest.raises(
        DataError, match="expected an object with images, annotations and categories"
    ):
        load_coco(root, "test")


def test_found_by_name(tmp_path, two_classes):
    assert len(create_dataset(DetectionDataConfig(root=write(tmp_path)), "train")) == 2


def test_another_list_of_categories_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"instances_train2017\.json has 2 categories; expected the 80 of COCO 2017"
    ):
        create_dataset(DetectionDataConfig(root=write(tmp_path)), "train")
