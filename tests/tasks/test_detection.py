"""The detection task: figures, shards, starting weights, and every recipe family at toy length."""

import dataclasses
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from spikedriven.cli.eval_tables import of_detector
from spikedriven.data import build_eval_loader
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.errors import InputError, RecipeError
from spikedriven.models import create_model
from spikedriven.recipes import load_recipe
from spikedriven.recipes.types import (
    LossConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    ScheduleConfig,
)
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.distributed import World
from spikedriven.runs.start import start_from
from spikedriven.tasks import create_task, detection
from spikedriven.tasks.detection import measure_map
from spikedriven.training.loop import Trainer
from tests.data.detection.coco_files import small_coco, write
from tests.models.detection.detectors import ESF, HEADS, META, SMALL, small

ALONE = World(0, 1, torch.device("cpu"))
SCENES = DetectionDataConfig(
    dataset="fashion-scenes",
    sizes=(64,),
    test_size=64,
    max_size=64,
    scene_size=64,
    train_images=4,
    test_images=5,
    workers=0,
)
ARGS = {**SMALL, **HEADS}
for _name in ("num_classes", "min_size", "max_size"):
    del ARGS[_name]


def recipe(**changes):
    model = ModelConfig(name="mask_rcnn", args=ARGS)
    values = {"task": "detection", "model": model, "data": SCENES, "optim": OptimConfig(lr=1e-3),
              "schedule": ScheduleConfig(kind="constant", epochs=1)}  # fmt: skip
    return Recipe(**{**values, **changes})


class Oracle:
    """Answers with the targets of the test part, all but every `miss`-th object, in reverse
    order of scores.
    """

    def __init__(self, miss=10**9, masks=True):
        loader = build_eval_loader(SCENES, batch_size=1, as_evaluated=True)
        self.targets, self.miss, self.masks = (
            {image[0].sum().item(): t[0] for image, t in loader},
            miss,
            masks,
        )

    def __call__(self, images):
        return [self.answer(self.targets[image.sum().item()]) for image in images]

    def answer(self, target):
        keep = torch.tensor([(i + 1) % self.miss != 0 for i in range(len(target["labels"]))])
        found = {"boxes": target["boxes"][keep], "labels": target["labels"][keep]}
        found["scores"] = torch.linspace(0.9, 0.5, int(keep.sum()))
        if self.masks:
            found["masks"] = target["masks"][keep][:, None].float()
        return found


def test_perfect_answers_score_one():
    loader = build_eval_loader(SCENES, batch_size=2, as_evaluated=True)
    found = measure_map(Oracle(), loader, ALONE, per_class=True)
    assert [found[k] for k in ("box_map", "box_map50", "segm_map", "segm_map50")] == pytest.approx(
        [1.0] * 4
    )
    labels = sorted(
        {int(label) for target in Oracle().targets.values() for label in target["labels"]}
    )
    assert found["classes"] == labels and found["box_map_per_class"] == pytest.approx(
        [1.0] * len(labels)
    )


def test_missed_objects_cost_and_boxes_alone_are_enough():
    loader = build_eval_loader(SCENES, batch_size=2, as_evaluated=True)
    found = measure_map(Oracle(miss=2, masks=False), loader, ALONE)
    assert 0 < found["box_map"] < 0.95 and "segm_map" not in found


def test_shards_give_the_figures_of_one_process(monkeypatch):
    """Five images over two processes: their lists have different lengths, and both must see all
    of them.
    """
    whole = measure_map(
        Oracle(miss=3), build_eval_loader(SCENES, batch_size=2, as_evaluated=True), ALONE
    )
    shares = {}
    for rank in (0, 1):
        loader = build_eval_loader(SCENES, batch_size=2, rank=rank, world_size=2, as_evaluated=True)
        monkeypatch.setattr(
            detection, "gather", lambda value, world, rank=rank: [shares.setdefault(rank, value)]
        )
        measure_map(Oracle(miss=3), loader, ALONE)
    assert [len(shares[rank][1]["groundtruth_box"]) for rank in (0, 1)] == [3, 2]
    monkeypatch.setattr(detection, "gather", lambda value, world: [shares[0], shares[1]])
    loader = build_eval_loader(SCENES, batch_size=2, rank=1, world_size=2, as_evaluated=True)
    assert measure_map(Oracle(miss=3), loader, ALONE) == whole


def test_images_without_objects_have_no_precision():
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    answer = {**empty, "scores": torch.zeros(0)}
    with pytest.raises(InputError, match="says nothing where there is no object"):
        measure_map(lambda images: [answer], [([torch.zeros(3, 8, 8)], [empty])], ALONE)


def test_a_class_without_objects_is_said_to_have_none():
    found = {"box_map": 0.5, "box_map_per_class": [0.5, -1.0], "classes": [1, 2]}
    told = of_detector(found, ("cat", "dog"))
    assert told.record["map_per_class"] == {"cat": {"box": 0.5}, "dog": {"box": None}}
    assert told.tables[1].caption == "–: no object of the class in these images"


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(
        InputError, match=r"faster_coco_eval is missing\): pip install 'spikedriven\[det\]'"
    ):
        create_task(recipe()).train_loader(0, 1)


def test_recipes_that_cannot_be_meant():
    with pytest.raises(RecipeError, match="detectors bring their own losses"):
        create_task(recipe(loss=LossConfig(tet=True)))
    with pytest.raises(RecipeError, match=r"use model\.args\.backbone_args\.time_steps"):
        create_task(recipe(model=ModelConfig(name="mask_rcnn", time_steps=4)))
    with pytest.raises(
        RecipeError, match="num_classes=80, but data set 'fashion-scenes' has 10 classes"
    ):
        wrong = ModelConfig(name="mask_rcnn", num_classes=80, args=ARGS)
        create_task(recipe(model=wrong, run=RunConfig(batch_size=2))).train_loader(0, 1)


def test_data_says_how_large_images_are():
    task = create_task(recipe(data=dataclasses.replace(SCENES, mean=(0.1, 0.2, 0.3))))
    task_loader(task)
    model = task.build_model()
    assert (
        model.num_classes == 10
        and model.transform.min_size == (64,)
        and model.transform.max_size == 64
    )
    assert model.transform.image_mean == [0.1, 0.2, 0.3] and model.img_size == (64, 64)


def test_a_classifiers_weights_go_into_the_encoder(tmp_path):
    classifier = create_model(ESF["backbone"], num_classes=7, **ESF["backbone_args"])
    torch.save(classifier.state_dict(), tmp_path / "weights.pt")
    model = small()
    report = start_from(model, str(tmp_path / "weights.pt"), strict=False)
    assert report.unexpected == ["head.bias", "head.weight"] and not report.missing
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[name])
    torch.save(model.state_dict(), tmp_path / "detector.pt")
    other = small(mode="corrected")
    assert len(start_from(other, str(tmp_path / "detector.pt")).loaded) == len(model.state_dict())


def test_the_gradient_leads_downhill():
    """Of the classifier of RoIs alone the loss is convex, and curved by half the largest squared
    input at most: steps of 0.01 lower it each time for inputs up to 20, whatever the layers before
    it say.
    """
    torch.manual_seed(0)
    task = create_task(recipe(data=dataclasses.replace(SCENES, train_images=2, hflip=0.0)))
    batch = next(iter(task_loader(task).epoch(0)))
    model = task.build_model().train()
    optimizer = torch.optim.SGD(model.roi_heads.box_predictor.fc_cls.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        torch.manual_seed(1)  # the same anchors and RoIs each time
        model.zero_grad()
        loss = task.loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(after < before for before, after in pairwise(losses)), losses
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def task_loader(task):
    task.recipe = dataclasses.replace(
        task.recipe, run=dataclasses.replace(task.recipe.run, batch_size=2)
    )
    return task.train_loader(0, 1)


FAMILIES = {
    "e_spikeformer_coco_mask_rcnn_10m": ARGS,
    "meta_spikeformer_coco_mask_rcnn_15m": {**ARGS, **META},
    "e_spikeformer_coco_cascade_mask_rcnn_19m": ARGS,
    "meta_spikeformer_coco_cascade_mask_rcnn_15m": {**ARGS, **META},
    "meta_spikeformer_coco_retinanet_15m": {
        **{k: v for k, v in ARGS.items() if k not in HEADS},
        **META,
    },
    "fashion_scenes_mask_rcnn": {},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_recipe_families_train_and_come_back(name, tmp_path):
    full = load_recipe(name)
    published = name.startswith(("e_", "meta_"))
    data = {"sizes": (64, 96), "test_size": 64, "max_size": 96, "workers": 0}
    data |= {"root": write(tmp_path)} if published else {"train_images": 2, "test_images": 2}
    data |= {"crop_resize": (64,), "crop_range": (48, 64)} if full.data.crop else {}
    small_recipe = dataclasses.replace(
        full,
        model=dataclasses.replace(full.model, args={**full.model.args, **FAMILIES[name]}),
        data=dataclasses.replace(full.data, **data),
        schedule=dataclasses.replace(full.schedule, warmup_epochs=0.0, warmup_lr=0.0),
        run=dataclasses.replace(full.run, batch_size=2, max_steps=2, device="cpu"),
    )
    if published:  # the toy set has two classes
        with pytest.MonkeyPatch.context() as patch:
            small_coco(patch)
            _train(small_recipe, tmp_path)
    else:
        _train(small_recipe, tmp_path)


def _train(toy, folder):
    toy = dataclasses.replace(
        toy, schedule=dataclasses.replace(toy.schedule, epochs=12 if toy.schedule.milestones else 2)
    )
    outcome = Trainer(toy, folder / "run", ALONE).fit()
    assert outcome.step == 2 and 0 <= outcome.figures["box_map"] <= 1
    assert ("segm_map" in outcome.figures) == (toy.model.name != "retinanet")
    model, again = load_run(folder / "run")
    assert again.model.num_classes == model.num_classes == toy.data.entry.facts.num_classes
    assert SimpleNamespace(**model(torch.rand(1, 3, 64, 64))[0]).boxes.shape[1] == 4
