"""Boxes of one's own: COCO of any categories, YOLO texts, Pascal VOC XML; all give the same."""

from pathlib import Path

import pytest
import torch

from spikedriven.data import build_eval_loader, build_train_loader, config_for, create_dataset
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.data.own.annotated import read_names
from spikedriven.data.own.yolo import _of_yaml
from spikedriven.errors import DataError
from tests.data.own.folders import SIZE, VOC, coco_content, picture, write_json

NAMES = {4: "nut", 17: "bolt"}


def config(root: Path, **fields) -> DetectionDataConfig:
    sizes = {"sizes": (48,), "test_size": 48, "max_size": 64}
    return config_for("folder", "detection", root=root, workers=0, **sizes, **fields)


def pictures(folder: Path, count: int = 3) -> None:
    for i in range(count):
        picture(folder / f"{i}.jpg", i)


def make_coco(root: Path, masks: bool = False) -> Path:
    """Two parts, as the web's annotation programs export them."""
    for part in ("train", "valid"):
        pictures(root / part)
        write_json(root / part / "_annotations.coco.json", coco_content(NAMES, masks))
    return root


def test_categories_of_any_ids_without_masks_or_area(tmp_path: Path):
    train = create_dataset(config(make_coco(tmp_path)), "train")
    assert train.classes == ("nut", "bolt") and len(train) == 3 and not train.with_masks
    image, target = train[1]
    assert image.shape == (3, SIZE[1], SIZE[0]) and "masks" not in target
    assert target["boxes"].tolist() == [[5.0, 6.0, 25.0, 30.0]] and target["labels"].tolist() == [2]
    assert target["area"].tolist() == [480.0]


def test_masks_are_read_where_every_object_has_one(tmp_path: Path, caplog):
    train = create_dataset(config(make_coco(tmp_path, masks=True)), "train")
    assert train.with_masks and train[0][1]["masks"].sum() == 480
    content = coco_content(NAMES, masks=True)
    content["annotations"][0]["segmentation"] = []
    write_json(tmp_path / "train" / "_annotations.coco.json", content)
    assert not create_dataset(config(tmp_path), "train").with_masks
    assert "1 of 3 objects have no mask" in caplog.text


@pytest.mark.parametrize(
    "places", [("annotations", "images"), ("annotations", "."), (".", "images")]
)
def test_coco_files_are_found_where_programs_put_them(tmp_path: Path, places: tuple[str, str]):
    for part in ("train", "val"):
        pictures(tmp_path / places[1] / part)
        write_json(tmp_path / places[0] / f"instances_{part}2017.json", coco_content(NAMES))
    assert [len(create_dataset(config(tmp_path), split)) for split in ("train", "test")] == [3, 3]


def test_one_coco_file_is_split_by_a_seeded_draw(tmp_path: Path):
    pictures(tmp_path / "images")
    write_json(tmp_path / "annotations" / "instances_default.json", coco_content(NAMES))
    cfg = config(tmp_path, test_fraction=0.34)
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2, 1)
    assert not {train.where(i) for i in range(2)} & {test.where(0)}
    write_json(tmp_path / "annotations" / "more.json", coco_content(NAMES))
    with pytest.raises(DataError, match=r"Name them train.json and val.json"):
        create_dataset(cfg, "train")


def test_other_categories_in_the_parts_are_refused(tmp_path: Path):
    make_coco(tmp_path)
    write_json(tmp_path / "valid" / "_annotations.coco.json", coco_content({4: "nut", 17: "screw"}))
    with pytest.raises(DataError, match=r"train and val must have the same classes.*bolt, screw"):
        create_dataset(config(tmp_path), "train")


def make_yolo(root: Path, names: str = "names: [nut, bolt]\n") -> Path:
    for part in ("train", "val"):
        pictures(root / "images" / part)
        (root / "labels" / part).mkdir(parents=True)
        for i in range(2):  # the third picture has no object
            # the box [4 + i, 6, 20, 24] of 64 x 48 pixels
            line = f"{i} {(14 + i) / 64} {18 / 48} {20 / 64} {24 / 48}\n"
            (root / "labels" / part / f"{i}.txt").write_text(line)
    (root / "data.yaml").write_text(names)
    return root


def test_yolo_texts(tmp_path: Path):
    cfg = config(make_yolo(tmp_path))
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert train.classes == ("nut", "bolt") and (len(train), len(test)) == (2, 3)
    target = train[1][1]
    torch.testing.assert_close(target["boxes"], torch.tensor([[5.0, 6.0, 25.0, 30.0]]))
    assert target["labels"].tolist() == [2] and len(test[2][1]["boxes"]) == 0
    (tmp_path / "data.yaml").write_text("names: {0: nut, 1: bolt}\n")
    assert create_dataset(cfg, "train").classes == ("nut", "bolt")
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("nut\nbolt\n")
    assert create_dataset(cfg, "train").classes == ("nut", "bolt")


def test_outlines_of_yolo_are_masks(tmp_path: Path):
    make_yolo(tmp_path)
    for i in range(2):
        corners = "0.0625 0.125 0.375 0.125 0.375 0.625 0.0625 0.625"
        (tmp_path / "labels" / "train" / f"{i}.txt").write_text(f"{i} {corners}\n")
    target = create_dataset(config(tmp_path), "train")[0][1]
    torch.testing.assert_close(target["boxes"], torch.tensor([[4.0, 6.0, 24.0, 30.0]]))
    assert target["masks"].sum() == 480


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", r"train.0.txt, line 1: class 2, but .*data.yaml names 2 classes"),
        ("0 0.5 0.5 1.5 0.1", "expected shares of the picture, from 0 to 1"),
        ("0 0.5 0.5 0.1 0.1 0.3", "found 6 numbers"),
        ("nut 0.5 0.5 0.1 0.1", "expected numbers: class x y width height"),
    ],
)
def test_yolo_lines_that_cannot_be_meant(tmp_path: Path, line: str, message: str):
    make_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "0.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        create_dataset(config(tmp_path), "train")


def test_yolo_without_names_or_pictures_is_refused(tmp_path: Path):
    make_yolo(tmp_path)
    (tmp_path / "labels" / "val" / "9.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match=r"9.txt: no picture of that name \(1 such files\)"):
        create_dataset(config(tmp_path), "train")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"nothing names them: add data.yaml"):
        create_dataset(config(tmp_path), "train")


def make_voc_boxes(root: Path) -> Path:
    pictures(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for i in range(3):
        content = VOC.format(name=f"{i}.jpg", label=["nut", "bolt"][i % 2], difficult=int(i == 2))
        (root / "Annotations" / f"{i}.xml").write_text(content)
    return root


def test_voc_files(tmp_path: Path):
    make_voc_boxes(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("1\n2\n")
    train, test = (create_dataset(config(tmp_path), split) for split in ("train", "test"))
    assert train.classes == ("bolt", "nut") and (len(train), len(test)) == (2, 2)
    assert train[0][1]["boxes"].tolist() == [[4.0, 6.0, 24.0, 30.0]]
    assert train[0][1]["labels"].tolist() == [2] and test[1][1]["iscrowd"].tolist() == [1]


def test_voc_files_that_define_entities_are_refused(tmp_path: Path):
    make_voc_boxes(tmp_path)
    hostile = '<!DOCTYPE a [<!ENTITY b "bb">]><annotation/>'
    (tmp_path / "Annotations" / "0.xml").write_text(hostile)
    with pytest.raises(DataError, match=r"0.xml: refused"):
        create_dataset(config(tmp_path), "train")


def test_a_folder_with_two_formats_must_be_told(tmp_path: Path):
    make_yolo(tmp_path)
    for part in ("train", "val"):
        write_json(tmp_path / "annotations" / f"{part}.json", coco_content(NAMES))
    with pytest.raises(DataError, match=r"as coco and yolo; say which with data.format"):
        create_dataset(config(tmp_path), "train")
    assert len(create_dataset(config(tmp_path, format="coco"), "train")) == 3
    with pytest.raises(DataError, match="no boxes were found; expected annotations/"):
        create_dataset(config(tmp_path / "images"), "train")


def test_batches_without_masks(tmp_path: Path):
    cfg = config(make_coco(tmp_path))
    images, targets = next(build_train_loader(cfg, batch_size=3, seed=0).epoch(0))
    assert len(images) == 3 and all(target.keys() == {"boxes", "labels"} for target in targets)
    stacked, _ = next(iter(build_eval_loader(cfg, batch_size=2)))
    assert stacked.shape == (2, 3, 64, 64)


@pytest.mark.parametrize("names", ["[no, yes]", "{0: cat, 1: on}", "[cat, null]", "[1.5, cat]"])
def test_names_that_yaml_takes_for_something_else_are_refused(tmp_path, names):
    path = tmp_path / "data.yaml"
    path.write_text(f"names: {names}\n")
    with pytest.raises(
        DataError, match=r"is no text: YAML reads words such as no, yes, on and null.*in quotes"
    ):
        _of_yaml(path)
    path.write_text("names: ['no', 'yes', 3]\n")
    assert _of_yaml(path) == ("no", "yes", "3")


def test_an_empty_line_would_move_the_names_behind_it(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("cat\n\ndog\n")
    with pytest.raises(
        DataError, match=r"classes\.txt, line 2: empty; each line is the name of its number"
    ):
        read_names(path)
    path.write_text("\ufeffcat\ndog\n\n", encoding="utf-8")
    assert read_names(path) == ("cat", "dog")
