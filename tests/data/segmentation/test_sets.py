import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.data import (
    all_sets,
    build_eval_loader,
    build_train_loader,
    create_dataset,
    data_config_type,
    find_set,
)
from spikedriven.data.segmentation import SegmentationDataConfig
from spikedriven.errors import DataError, InputError, RecipeError
from tests.data.segmentation.folders import label_map, make_ade, make_voc, quarters


def config(dataset, root=None, **keywords):
    return SegmentationDataConfig(dataset=dataset, root=root, workers=0, **keywords)


def test_ade_labels_lose_their_zero(tmp_path):
    make_ade(tmp_path)
    train = create_dataset(config("ade20k", tmp_path), "train")
    test = create_dataset(config("ade20k", tmp_path), "test")
    assert (len(train), len(test), train.num_classes) == (5, 3, 150)
    image, labels = train[3]
    assert image.dtype == labels.dtype == torch.uint8 and image.shape == (3, 30, 44)
    assert torch.equal(labels, torch.from_numpy(quarters(30, 44, (255, 0, 149, 4))))
    assert test.classes[0] == "class 1"


def test_an_image_of_another_ending_is_not_left_out_in_silence(tmp_path):
    image = make_ade(tmp_path) / "images" / "training" / "ADE_tra_00000002.jpg"
    image.rename(image.with_suffix(".JPG"))
    with pytest.raises(
        DataError,
        match=r"ADE_tra_00000002\.png has no image \(1 such label maps\): expected .*\.jpg",
    ):
        create_dataset(config("ade20k", tmp_path), "train")


def test_a_picture_that_is_turned_and_its_map_that_is_not(tmp_path):
    image = make_ade(tmp_path) / "images" / "training" / "ADE_tra_00000002.jpg"
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(image).save(image, exif=exif)
    with pytest.raises(
        DataError, match=r"44x30 pixels, but .* has 30x44; .*turned by its EXIF orientation"
    ):
        create_dataset(config("ade20k", tmp_path), "train")[2]


def test_ade_class_names_come_from_its_own_table(tmp_path):
    folder = make_ade(tmp_path)
    rows = [f"{i}\t0.1\t1\t1\t0\tthing {i}, other name" for i in range(1, 151)]
    table = folder / "objectInfo150.txt"
    table.write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]))
    assert create_dataset(config("ade20k", folder), "train").classes[:2] == ("thing 1", "thing 2")
    table.write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows[:-1]]))
    with pytest.raises(DataError, match="149 classes found"):
        create_dataset(config("ade20k", tmp_path), "train")


def test_voc_keeps_its_background_and_its_void(tmp_path):
    make_voc(tmp_path)
    train, test = (
        create_dataset(config("voc2012", tmp_path), split) for split in ("train", "test")
    )
    assert (len(train), len(test), train.num_classes, train.classes[20]) == (4, 2, 21, "tvmonitor")
    assert torch.equal(train[2][1], torch.from_numpy(quarters(30, 40, (0, 20, 255, 3))))


@pytest.mark.parametrize(("name", "make"), [("ade20k", make_ade), ("voc2012", make_voc)])
def test_missing_and_broken_files_are_named(name, make, tmp_path):
    with pytest.raises(DataError, match=rf"{name} was not found.*data\.root"):
        create_dataset(config(name, tmp_path), "train")
    assert find_set(name, "segmentation").locate(tmp_path) is None
    folder = make(tmp_path)
    assert (
        find_set(name, "segmentation").locate(tmp_path)
        == folder
        == find_set(name, "segmentation").locate(folder)
    )
    maps = create_dataset(config(name, tmp_path), "train")
    content = maps.images[0].read_bytes()
    maps.images[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=maps.images[0].name):
        maps[0]
    label_map(maps.maps[1], np.zeros((30, 41)))
    with pytest.raises(DataError, match=r"41x30 pixels, but .* has 4[04]x30"):
        maps[1]
    label_map(maps.maps[2], np.full(maps[2][1].shape, 160))
    with pytest.raises(DataError, match=r"label 1(59|60) found"):
        maps[2]
    label_map(maps.maps[3], np.zeros((30, 44, 3)))
    with pytest.raises(DataError, match="mode RGB, expected one byte"):
        maps[3]
    maps.maps[0].unlink()
    with pytest.raises(DataError, match=r"is missing; unpack"):
        create_dataset(config(name, tmp_path), "train")


def test_lists_that_name_nothing(tmp_path):
    folder = make_voc(tmp_path)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("")
    with pytest.raises(DataError, match=r"val\.txt names no images"):
        create_dataset(config("voc2012", tmp_path), "test")
    (folder / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt cannot be read"):
        create_dataset(config("voc2012", tmp_path), "train")


def test_scenes_by_configuration():
    cfg = config("fashion-scenes", img_size=96, scenes=7, test_scenes=5, scene_seed=3)
    maps = create_dataset(cfg, "train")
    assert len(maps) == 7 and len(create_dataset(cfg, "test")) == 5 and maps.num_classes == 11
    assert maps[0][0].shape == (3, 96, 96) and "seed 3" in maps.where(0)
    assert not torch.equal(
        maps[0][0], create_dataset(config("fashion-scenes", img_size=96), "train")[0][0]
    )
    with pytest.raises(InputError, match="give val_fraction > 0"):
        create_dataset(cfg, "val")


def test_the_registry_is_part_of_all_sets():
    assert data_config_type("segmentation", "ade20k") is SegmentationDataConfig
    assert {"fashion-scenes", "ade20k"} <= {e.name for e in all_sets() if e.task == "segmentation"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dataset", "ade"),
        ("workers", -1),
        ("img_size", 0),
        ("scenes", 0),
        ("epoch_images", 0),
        ("hflip", 1.5),
        ("max_class_share", 0.0),
        ("resize", (100, 200)),
        ("resize_range", (0.5, 2.0)),
        ("std", (1.0, 0.0, 1.0)),
        ("test_scales", ()),
        ("test_scales", (1.0, 0.0)),
        ("slide", (8, 9)),
        ("slide", (8, 0)),
    ],
)
def test_values_that_cannot_be_used(field, value):
    with pytest.raises(RecipeError, match=field):
        SegmentationDataConfig(**{field: value})
    with pytest.raises(RecipeError, match="resize_range"):
        SegmentationDataConfig(resize=(200, 100), resize_range=(2.0, 1.0))


def batches(cfg, epoch=0, start=0, **keywords):
    return list(
        build_train_loader(cfg, **{"batch_size": 2, "seed": 1, **keywords}).epoch(epoch, start)
    )


def test_train_batches_depend_on_named_numbers_only(tmp_path):
    make_ade(tmp_path)
    cfg = config(
        "ade20k",
        tmp_path,
        img_size=24,
        resize=(60, 40),
        resize_range=(0.5, 2.0),
        max_class_share=0.9,
        photometric=True,
    )
    first, again = batches(cfg), batches(cfg)
    assert (
        len(first) == 2 and first[0][0].shape == (2, 3, 24, 24) and first[0][1].shape == (2, 24, 24)
    )
    assert first[0][0].dtype == torch.float32 and first[0][1].dtype == torch.int64
    assert all(
        torch.equal(a, b)
        for x, y in zip(first, again, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    assert torch.equal(batches(cfg, start=1)[0][0], first[1][0])
    assert not torch.equal(batches(cfg, epoch=1)[0][0], first[0][0])
    assert not torch.equal(batches(cfg, seed=2)[0][0], first[0][0])
    halves = [batches(cfg, batch_size=1, rank=rank, world_size=2) for rank in (0, 1)]
    assert torch.equal(torch.cat([halves[0][0][0], halves[1][0][0]]), first[0][0])


def test_epochs_cut_out_of_an_endless_row_of_passes(tmp_path):
    """Epochs of 7 out of 5 images: every 5 samples in a row are each image once, and no two are
    augmented alike.
    """
    make_ade(tmp_path)
    cfg = config("ade20k", tmp_path, img_size=24, epoch_images=7)
    loader = build_train_loader(cfg, batch_size=1, seed=1)
    assert len(loader) == 7
    passes = loader._loader.dataset.dataset
    row = [passes.locate(epoch, position) for epoch in range(5) for position in range(7)]
    assert len(set(row)) == 35
    for number in range(7):
        assert sorted(row[5 * number : 5 * number + 5]) == [(number, i) for i in range(5)]
    orders = {tuple(index for _, index in row[5 * n : 5 * n + 5]) for n in range(7)}
    assert len(orders) > 3
    assert len(batches(cfg, epoch=2)) == 3


def test_a_broken_train_image_is_replaced_and_counted(tmp_path):
    make_ade(tmp_path)
    maps = create_dataset(config("ade20k", tmp_path), "train")
    maps.images[1].write_bytes(b"no image")
    loader = build_train_loader(config("ade20k", tmp_path, img_size=24), batch_size=5, seed=0)
    assert len(list(loader.epoch(0))) == 1
    assert loader.broken_count == 1 and str(maps.images[1]) in loader.broken_files
    with pytest.raises(DataError, match=maps.images[1].name):
        list(
            build_train_loader(
                config("ade20k", tmp_path, skip_broken=False), batch_size=5, seed=0
            ).epoch(0)
        )


def test_evaluation_sees_whole_images_once_and_stops_at_broken_ones(tmp_path):
    make_ade(tmp_path, size=(30, 50))
    cfg = config("ade20k", tmp_path, resize=(100, 40))
    found = list(build_eval_loader(cfg, batch_size=8))
    assert [(tuple(x.shape), tuple(y.shape)) for x, y in found] == [
        ((1, 3, 40, 67), (1, 30, 50))
    ] * 3
    shares = [
        [y for _, y in build_eval_loader(cfg, batch_size=1, rank=r, world_size=2)] for r in (0, 1)
    ]
    assert [len(share) for share in shares] == [2, 1]
    together = [shares[0][0], shares[1][0], shares[0][1]]
    assert all(torch.equal(a, y) for a, (_, y) in zip(together, found, strict=True))
    create_dataset(cfg, "test").images[2].write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read as an image"):
        list(build_eval_loader(cfg, batch_size=1))


def test_images_in_several_sizes(tmp_path):
    """Factors of the size for evaluation, each resized from the image itself; without `resize`,
    of its own size.
    """
    make_ade(tmp_path, size=(30, 50))
    cfg = config("ade20k", tmp_path, resize=(100, 40), test_scales=(0.5, 1.0, 1.75))
    views, labels = next(iter(build_eval_loader(cfg, batch_size=1, as_evaluated=True)))
    assert [tuple(view.shape[-2:]) for view in views] == [(20, 33), (40, 67), (70, 117)]
    assert labels.shape == (1, 30, 50)
    image, _ = next(iter(build_eval_loader(cfg, batch_size=1)))
    assert torch.equal(views[1], image), "energy and rates are measured on the size for evaluation"
    direct = config("ade20k", tmp_path, resize=(50, 20))
    assert torch.equal(views[0], next(iter(build_eval_loader(direct, batch_size=1)))[0])
    own = config("ade20k", tmp_path, test_scales=(1.0, 2.0))
    views, _ = next(iter(build_eval_loader(own, batch_size=1, as_evaluated=True)))
    assert [tuple(view.shape[-2:]) for view in views] == [(30, 50), (60, 100)]


def test_scenes_are_evaluated_in_batches():
    cfg = config("fashion-scenes", test_scenes=5)
    assert [len(x) for x, _ in build_eval_loader(cfg, batch_size=2)] == [2, 2, 1]
