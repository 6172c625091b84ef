"""The event recipes: effective values of the releases, typed in independently, and a model that
builds.
"""

import pytest
import torch

from spikedriven.data import EventDataConfig, FramedEventConfig
from spikedriven.recipes import load_recipe
from spikedriven.tasks import create_task
from spikedriven.training.optim import peak_learning_rate

# data set, T, size, batch, processes, optimiser, lr, min lr, warm-up lr, weight decay, epochs run,
# warm-up, parameters
EVENTS = {
    "sdt_cifar10dvs_2_256_tet": (
        "cifar10-dvs",
        10,
        64,
        32,
        1,
        "adamw",
        7.5e-3,
        3e-4,
        1e-3,
        1e-4,
        210,
        10,
        2_566_794,
    ),
    "sdt_cifar10dvs_2_256": (
        "cifar10-dvs",
        10,
        64,
        32,
        1,
        "adamw",
        7.5e-3,
        3e-4,
        1e-3,
        1e-4,
        210,
        10,
        2_566_794,
    ),
    "sdt_gesture_2_256_t10": (
        "dvs128-gesture",
        10,
        128,
        16,
        1,
        "lamb",
        2e-3,
        1e-5,
        1e-5,
        1e-4,
        210,
        10,
        2_567_051,
    ),
    "sdt_gesture_2_256_t16": (
        "dvs128-gesture",
        16,
        128,
        16,
        1,
        "lamb",
        3e-4,
        1e-5,
        1e-6,
        0.06,
        210,
        10,
        2_567_051,
    ),
    "spikingformer_cifar10dvs_2_256": (
        "cifar10-dvs",
        16,
        128,
        16,
        1,
        "adamw",
        1e-3,
        1e-5,
        1e-5,
        0.06,
        106,
        10,
        2_568_714,
    ),
    "spikingformer_gesture_2_256": (
        "dvs128-gesture",
        16,
        128,
        16,
        1,
        "adamw",
        1e-3,
        1e-5,
        1e-5,
        0.06,
        202,
        10,
        2_568_971,
    ),
    "spikformer_cifar10dvs_2_256": (
        "cifar10-dvs",
        16,
        128,
        16,
        1,
        "adamw",
        1e-3,
        1e-5,
        1e-5,
        0.06,
        106,
        10,
        2_585_610,
    ),
    "spikformer_gesture_2_256": (
        "dvs128-gesture",
        16,
        128,
        16,
        1,
        "adamw",
        1e-3,
        1e-5,
        1e-5,
        0.06,
        200,
        10,
        2_585_867,
    ),
    "e_spikeformer_hardvs_19m": (
        "har-dvs",
        8,
        224,
        24,
        3,
        "adamw",
        1.125e-5,
        1e-6,
        0.0,
        0.01,
        100,
        10,
        18_740_004,
    ),
    "meta_spikeformer_hardvs_18m": (
        "har-dvs",
        8,
        224,
        24,
        3,
        "adamw",
        1.125e-5,
        1e-6,
        0.0,
        0.01,
        100,
        10,
        18_262_980,
    ),
    "e_spikeformer_gesture_6m": (
        "dvs128-gesture",
        8,
        128,
        24,
        3,
        "adamw",
        1.125e-5,
        1e-6,
        0.0,
        0.01,
        100,
        10,
        5_604_315,
    ),
}
AUGMENTED = (
    "spikingformer_cifar10dvs_2_256",
    "spikingformer_gesture_2_256",
    "spikformer_cifar10dvs_2_256",
)
CLASSES = {"cifar10-dvs": 10, "dvs128-gesture": 11, "har-dvs": 300}


@pytest.mark.parametrize("name", EVENTS)
def test_effective_values(name: str) -> None:
    (
        dataset,
        steps,
        size,
        batch,
        processes,
        optimizer,
        lr,
        min_lr,
        warmup_lr,
        decay,
        epochs,
        warmup,
        _,
    ) = EVENTS[name]
    recipe = load_recipe(name)
    data, optim, schedule = recipe.data, recipe.optim, recipe.schedule
    assert isinstance(data, EventDataConfig)
    assert (data.dataset, data.time_steps, data.img_size, data.smoothing) == (
        dataset,
        steps,
        size,
        0.1,
    )
    assert isinstance(data, FramedEventConfig) == (dataset != "har-dvs") and not data.shuffle_steps
    if isinstance(data, FramedEventConfig):
        assert (data.split_by, data.values, data.antialias) == ("number", "count", False)
    assert (recipe.run.batch_size, recipe.run.accumulation, recipe.run.amp) == (batch, 1, "fp16")
    assert peak_learning_rate(optim, processes * batch) == pytest.approx(lr)
    assert (optim.name, optim.weight_decay) == (optimizer, decay)
    assert (schedule.min_lr, schedule.warmup_lr, schedule.total_epochs, schedule.warmup_epochs) == (
        min_lr, warmup_lr, epochs, warmup,
    )  # fmt: skip
    if dataset == "cifar10-dvs":
        assert data.split == "authors"


def test_what_only_some_recipes_do() -> None:
    recipes = {name: load_recipe(name) for name in EVENTS}
    assert [name for name, recipe in recipes.items() if recipe.loss.tet] == [
        "sdt_cifar10dvs_2_256_tet"
    ]
    for name, recipe in recipes.items():
        data, run = recipe.data, recipe.run
        mixes = (data.mixup, data.mixup_prob, data.mixup_off_epoch, data.snn_augment, run.seed)
        plain = (0.0, 1.0, 0, False, 2021)  # Spikformer's paper augments on CIFAR10-DVS alone
        other = plain if name == "spikformer_gesture_2_256" else (0.0, 1.0, 0, False, 42)
        assert mixes == ((0.5, 0.5, 75, True, 2021) if name in AUGMENTED else other)
        har = name in ("e_spikeformer_hardvs_19m", "meta_spikeformer_hardvs_18m")
        assert data.hflip == (0.5 if har or name in AUGMENTED else 0.0)
        assert data.val_fraction == (0.1 if har else 0.0)
        of_script = har or name == "e_spikeformer_gesture_6m"
        assert (run.clip_grad, run.ema) == ((1.0, 0.999) if of_script else (None, None))
        assert recipe.schedule.kind == ("cosine_iter" if of_script else "cosine_epoch")
        if har:
            assert (data.frame_order, data.eval_window, data.flip_each_frame) == (
                "sorted",
                "centre",
                False,
            )


@pytest.mark.parametrize("name", EVENTS)
def test_the_model_builds_with_the_published_size(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        model = create_task(recipe).build_model()
    dataset, steps, size = EVENTS[name][:3]
    default, classes = model.num_classes, CLASSES[dataset]
    head = model.get_classifier()
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters + (classes - default) * (head.in_features + 1) == EVENTS[name][-1]
    assert (model.time_steps, model.in_chans, model.img_size) == (steps, 2, (size, size))
    assert model.output == ("per_step" if name.endswith("tet") else "mean")
