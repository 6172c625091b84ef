"""One contract for every kind of data: entries, data sections, and how a section changes its
set.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spikedriven.data import (
    DataConfig,
    DataSet,
    DetectionDataConfig,
    EventDataConfig,
    Facts,
    SegmentationDataConfig,
    all_sets,
    build_eval_loader,
    build_train_loader,
    config_for,
    create_dataset,
    find_set,
    register_data_set,
    sets_named,
    with_dataset,
)
from spikedriven.data.parts import Part
from spikedriven.data.sections import kind_of
from spikedriven.data.segmentation.sets import LabelMaps
from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.reading import recipe_from_dict
from tests.plugins import taken_back

FACTS = Facts(num_classes=2, size="8x8", licence="ours")
SCENES = {"dataset": "fashion-scenes", "workers": 0}


@pytest.mark.parametrize("entry", all_sets(), ids=lambda entry: f"{entry.task}-{entry.name}")
def test_every_set_has_a_data_section_of_its_own_class(entry: DataSet):
    cfg = config_for(entry.name, entry.task)
    assert type(cfg) is entry.config and cfg.entry is entry and cfg.task == entry.task
    assert len(cfg.normalization()[0]) == cfg.in_chans if entry.task != "detection" else True


def test_a_name_may_belong_to_a_set_for_each_task():
    assert [entry.task for entry in sets_named("fashion-scenes")] == ["detection", "segmentation"]
    with pytest.raises(InputError, match="'coco2017' is a data set for detection; those for class"):
        find_set("coco2017")
    with pytest.raises(InputError, match="unknown data set 'coco2071'; did you mean coco2017"):
        sets_named("coco2071")


class Squares(LabelMaps):
    """Label maps of one class each."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(3, 8, 8, dtype=torch.uint8), torch.full((8, 8), index % 2).byte()

    def where(self, index: int) -> str:
        return f"square {index}"


class Boxes(Squares):
    """The same with a box each."""

    def __getitem__(self, index: int):
        target = {
            "boxes": torch.tensor([[1.0, 1.0, 5.0, 5.0]]),
            "labels": torch.tensor([1 + index % 2]),
            "masks": torch.ones(1, 8, 8, dtype=torch.uint8),
        }
        return torch.zeros(3, 8, 8, dtype=torch.uint8), target


@pytest.mark.parametrize(
    ("section", "samples", "size"),
    [
        (SegmentationDataConfig, Squares, {"img_size": 8}),
        (DetectionDataConfig, Boxes, {"sizes": (8,), "test_size": 8}),
    ],
)
def test_a_registered_set_of_any_kind_is_trained_on_and_evaluated(section, samples, size):
    with taken_back():
        register_data_set(
            DataSet(
                name="own-squares",
                config=section,
                facts=FACTS,
                open=lambda cfg, folder, split: samples(("a", "b")),
            )
        )
        cfg = config_for("own-squares", section.task, workers=0, **size)
        train = build_train_loader(cfg, batch_size=2, seed=0)
        assert train.classes == ("a", "b") and len(list(train.epoch(0))) == 2
        assert len(list(build_eval_loader(cfg, batch_size=2, as_evaluated=True))) >= 2


def test_what_is_no_data_set_is_refused():
    with pytest.raises(InputError, match="takes a DataSet whose config is a DataSection"):
        register_data_set(FACTS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'fashion-mini' belongs to another data set"):
        register_data_set(find_set("fashion-mini"))
    with pytest.raises(RecipeError, match="options of cifar10-dvs are those of Cifar10DvsConfig"):
        EventDataConfig(dataset="cifar10-dvs")


def test_options_of_one_event_set_are_in_its_section_only():
    shared = {field.name for field in dataclasses.fields(EventDataConfig)}
    own = {"split", "class_order", "labels", "pictures", "simulation_seed", "frame_order"}
    assert not own & shared
    assert config_for("cifar10-dvs", split="authors").split == "authors"
    with pytest.raises(RecipeError, match="split: an option of cifar10-dvs, not of dvs128-gesture"):
        config_for("dvs128-gesture", split="authors")


def test_a_section_takes_another_set_of_its_kind():
    gesture = config_for("dvs128-gesture", time_steps=16, class_order="as_text", hflip=0.25)
    moved = with_dataset(gesture, "cifar10-dvs")
    assert type(moved) is find_set("cifar10-dvs").config
    assert (moved.time_steps, moved.hflip, moved.split) == (16, 0.25, "seeded")
    assert with_dataset(DataConfig(), "fashion-mnist") == DataConfig(dataset="fashion-mnist")
    grey = with_dataset(DataConfig(), "folder", root=Path("mine"))
    assert grey.in_chans == 1 and grey.normalization() == ((0.449,), (0.226,))
    assert with_dataset(grey, "fashion-mini").root is None
    with pytest.raises(InputError, match="fashion-mini: the data section is for sets such as dvs"):
        with_dataset(gesture, "fashion-mini")
    assert kind_of(type(moved)) is EventDataConfig


@pytest.mark.parametrize("section", [DetectionDataConfig, SegmentationDataConfig])
def test_a_part_is_held_out_for_validation_of_every_kind(section):
    sizes = {"train_images": 20} if section is DetectionDataConfig else {"scenes": 20}
    cfg = section(**SCENES, **sizes, val_fraction=0.25)
    train, val = (create_dataset(cfg, split) for split in ("train", "val"))
    assert isinstance(val, Part) and (len(train), len(val)) == (15, 5)
    names = [{part.where(i) for i in range(len(part))} for part in (train, val)]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 20
    assert val.where(1) == val.subset(np.array([1])).where(0)


RECIPE = {
    "model": {"name": "sdt_2_256_gesture"},
    "data": {"dataset": "dvs128-gesture", "root": "/data"},
    "optim": {"lr": 1e-3},
}


def test_recipes_of_runs_from_before_are_read():
    """They hold the options of all event sets, at their defaults."""
    old = {"split": "seeded", "labels": "garment", "frame_order": "sorted", "simulation_seed": 0}
    recipe = recipe_from_dict({**RECIPE, "data": {**RECIPE["data"], **old}})  # type: ignore[dict-item]
    assert recipe.data == config_for("dvs128-gesture", root=Path("/data"))
    with pytest.raises(
        RecipeError, match=r"'data.labels_file': an option of folder, not of fashion-mini"
    ):
        recipe_from_dict({**RECIPE, "data": {"labels_file": "mine.csv"}})
    with pytest.raises(RecipeError, match="labels_file"):
        recipe_from_dict({**RECIPE, "data": {"dataset": 5, "labels_file": "mine.csv"}})
    with pytest.raises(RecipeError, match=r"'data.split': an option of cifar10-dvs, not of dvs128"):
        recipe_from_dict({**RECIPE, "data": {**RECIPE["data"], "split": "authors"}})  # type: ignore[dict-item]
