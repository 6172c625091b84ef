"""Detection recipes: the effective values of the published configurations, typed in
independently.
"""

import dataclasses

import pytest

from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.training.schedule import learning_rate

# network, backbone, widths, batch, peak, epochs, then (position, share of the peak)
PUBLISHED = {
    "e_spikeformer_coco_mask_rcnn_10m": (
        "mask_rcnn",
        "e_spikeformer_10m",
        (192, 768),
        4,
        2e-4,
        12,
        ((0, 1e-3), (7.9, 1), (8, 0.1), (11, 0.01)),
    ),
    "e_spikeformer_coco_mask_rcnn_19m": (
        "mask_rcnn",
        "e_spikeformer_19m",
        (256, 1024),
        4,
        2e-4,
        12,
        ((0, 1e-3), (7.9, 1), (8, 0.1), (11, 0.01)),
    ),
    "e_spikeformer_coco_mask_rcnn_19m_3x": (
        "mask_rcnn",
        "e_spikeformer_19m",
        (256, 1024),
        2,
        2e-4,
        36,
        ((26.9, 1), (27, 0.1), (33, 0.01)),
    ),
    "meta_spikeformer_coco_mask_rcnn_15m": (
        "mask_rcnn",
        "meta_spikeformer_15m",
        (256, 1024),
        2,
        2e-4,
        8,
        ((0.54, 1), (8, 0.01)),
    ),
    "meta_spikeformer_coco_mask_rcnn_15m_finetune": (
        "mask_rcnn",
        "meta_spikeformer_15m",
        (256, 1024),
        1,
        2.5e-5,
        5,
        ((0.27, 1), (5, 0.01)),
    ),
    "e_spikeformer_coco_cascade_mask_rcnn_19m": (
        "cascade_mask_rcnn",
        "e_spikeformer_19m",
        (256, 1024),
        2,
        2e-4,
        36,
        ((26.9, 1), (27, 0.1), (33, 0.01)),
    ),
    "meta_spikeformer_coco_cascade_mask_rcnn_15m": (
        "cascade_mask_rcnn",
        "meta_spikeformer_15m",
        (256, 1024),
        2,
        2e-4,
        36,
        ((26.9, 1), (27, 0.1), (33, 0.01)),
    ),
    "meta_spikeformer_coco_retinanet_15m": (
        "retinanet",
        "meta_spikeformer_15m",
        (256,),
        2,
        2e-4,
        36,
        ((0.54, 1), (36, 0.01)),
    ),
}


def test_every_detection_recipe_is_checked_here():
    found = {name for name in list_recipes() if load_recipe(name).task == "detection"}
    assert found == {*PUBLISHED, "fashion_scenes_mask_rcnn", "own_detection"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_effective_values(name):
    network, backbone, widths, batch, peak, epochs, shares = PUBLISHED[name]
    recipe = load_recipe(name)
    args = recipe.model.args
    found = (
        recipe.model.name,
        args["backbone"],
        recipe.run.batch_size,
        recipe.optim.lr,
        recipe.schedule.total_epochs,
    )
    assert found == (network, backbone, batch, peak, epochs)
    assert (args.get("width"), args.get("head_width"))[: len(widths)] == widths
    for position, share in shares:
        assert learning_rate(recipe.schedule, peak, position) == pytest.approx(share * peak)
    assert (recipe.optim.name, recipe.optim.weight_decay, recipe.run.clip_grad) == (
        "adamw",
        0.05,
        None,
    )
    data = dataclasses.asdict(recipe.data)
    assert data["sizes"] == tuple(range(480, 801, 32)) and data["crop_resize"] == (400, 500, 600)
    assert (data["crop"], data["crop_range"], data["max_size"], data["test_size"]) == (
        True,
        (384, 600),
        1333,
        800,
    )
    assert data["workers"] == 8
    assert (
        data["mean"] == (0.485, 0.456, 0.406)
        and data["hflip"] == 0.5
        and data["dataset"] == "coco2017"
    )
