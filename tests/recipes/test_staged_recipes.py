"""The recipes of SDT-V2, SDT-V3 and the spike MAE: effective values of the releases, typed in
independently.
"""

import pytest
import torch

from spikedriven.cli import main
from spikedriven.recipes import load_recipe
from spikedriven.recipes.reading import read_recipe
from spikedriven.tasks import create_task
from spikedriven.training.optim import peak_learning_rate

V2_T4 = "meta_spikeformer_imagenet_55m_t4_distil"
# batch per GPU, resulting learning rate on 8 GPUs, epochs, warm-up, trust clip, layer decay, mixup,
# cutmix, parameters
STAGED = {
    "meta_spikeformer_imagenet_15m": (128, 2.4e-3, 200, 10, True, 1.0, 0.0, 0.0, 15_112_208),
    "meta_spikeformer_imagenet_31m": (128, 2.4e-3, 200, 10, True, 1.0, 0.0, 0.0, 31_333_864),
    "meta_spikeformer_imagenet_55m": (128, 2.4e-3, 200, 10, True, 1.0, 0.0, 0.0, 55_350_248),
    V2_T4: (24, 1.5e-5, 50, 5, False, 1.0, 0.0, 0.0, 55_991_248),
    "e_spikeformer_imagenet_5m": (256, 4.8e-3, 200, 5, True, 1.0, 0.0, 0.0, 5_105_608),
    "e_spikeformer_imagenet_10m": (256, 4.8e-3, 200, 5, True, 1.0, 0.0, 0.0, 10_023_112),
    "e_spikeformer_imagenet_19m": (256, 4.8e-3, 200, 5, True, 1.0, 0.0, 0.0, 18_987_504),
    "spike_mae_imagenet_12_512": (256, 1.2e-3, 200, 20, False, 1.0, 0.0, 0.0, 85_614_656),
    "spike_mae_imagenet_12_768": (256, 1.2e-3, 200, 20, False, 1.0, 0.0, 0.0, 173_776_608),
    "e_spikeformer_imagenet_83m_finetune": (
        128,
        2.4e-3,
        150,
        10,
        False,
        0.75,
        0.8,
        1.0,
        82_502_952,
    ),
    "e_spikeformer_imagenet_171m_finetune": (
        128,
        2.4e-3,
        150,
        10,
        False,
        0.75,
        0.8,
        1.0,
        170_810_824,
    ),
    "e_spikeformer_imagenet_83m_distil": (196, 6.125e-3, 100, 5, False, 1.0, 0.5, 1.0, 83_015_952),
    "e_spikeformer_imagenet_171m_distil": (
        196,
        6.125e-3,
        100,
        5,
        False,
        1.0,
        0.5,
        1.0,
        171_579_824,
    ),
}
MAE = [name for name in STAGED if name.startswith("spike_mae")]
CLASSIFIERS = [name for name in STAGED if name not in MAE]


@pytest.mark.parametrize("name", STAGED)
def test_effective_values(name: str) -> None:
    batch, lr, epochs, warmup, trust_clip, layer_decay, mixup, cutmix, _ = STAGED[name]
    recipe = load_recipe(name)
    optim, schedule, data, run = recipe.optim, recipe.schedule, recipe.data, recipe.run
    assert peak_learning_rate(optim, 8 * run.batch_size) == pytest.approx(lr)
    assert (run.batch_size, run.accumulation, run.amp, run.seed, run.clip_grad) == (
        batch,
        1,
        "fp16",
        42,
        None,
    )
    assert (schedule.kind, schedule.epochs, schedule.cooldown_epochs) == ("cosine_iter", epochs, 0)
    assert (schedule.warmup_epochs, schedule.min_lr) == (warmup, 5e-6 if name in MAE else 1e-6)
    assert (optim.trust_clip, optim.layer_decay, optim.weight_decay) == (
        trust_clip,
        layer_decay,
        0.05,
    )
    assert (data.mixup, data.cutmix, data.hflip, data.interpolation) == (
        mixup,
        cutmix,
        0.5,
        "bicubic",
    )
    assert run.ema is None, (
        "the release keeps an average in some stages, but neither saves nor evaluates it"
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_values_common_to_the_classifiers(name: str) -> None:
    recipe = load_recipe(name)
    data = recipe.data
    assert (recipe.optim.name, recipe.optim.decay_all, data.smoothing) == ("lamb", False, 0.1)
    assert (
        data.auto_augment,
        data.random_erasing,
        data.random_erasing_mode,
        data.color_jitter,
    ) == (
        "rand-m9-mstd0.5-inc1",
        0.25,
        "pixel",
        0.0,
    )
    resized = int(data.img_size / data.crop_pct)
    assert resized == (256 if name.startswith("meta") else 232)
    assert recipe.task == ("distillation" if name.endswith("distil") else "classification")
    if recipe.task == "distillation":
        distill = recipe.distill
        assert (distill.teacher, distill.kind, distill.alpha, distill.tau) == (
            "timm/caformer_b36.sail_in22k_ft_in1k", "hard", 0.5, 1.0,
        )  # fmt: skip
        assert recipe.model.args["distilled"] is True and recipe.model.init_strict is False


@pytest.mark.parametrize("name", MAE)
def test_values_of_pre_training(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.optim.name, recipe.optim.betas, recipe.optim.eps) == ("adamw", (0.9, 0.95), 1e-4)
    assert (recipe.optim.decay_all, recipe.task) == (True, "pretraining")
    data = recipe.data
    assert (data.scale, data.smoothing, data.auto_augment, data.random_erasing) == (
        (0.2, 1.0),
        0.0,
        None,
        0.0,
    )


@pytest.mark.parametrize("name", STAGED)
def test_the_model_builds_with_the_published_size(name: str) -> None:
    with torch.device("meta"):
        model = create_task(load_recipe(name)).build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == STAGED[name][-1]
    assert model.time_steps == (4 if name == V2_T4 else 1)


@pytest.mark.parametrize("size", ["12_512 83m", "12_768 171m"])
def test_each_stage_hands_all_of_its_body_to_the_next(size: str) -> None:
    pretrain, finetune = size.split()
    with torch.device("meta"):
        encoder = (
            create_task(load_recipe(f"spike_mae_imagenet_{pretrain}")).build_model().state_dict()
        )
        tuned = (
            create_task(load_recipe(f"e_spikeformer_imagenet_{finetune}_finetune"))
            .build_model()
            .state_dict()
        )
        student = (
            create_task(load_recipe(f"e_spikeformer_imagenet_{finetune}_distil"))
            .build_model()
            .state_dict()
        )
    body = {key: value.shape for key, value in encoder.items() if key.startswith("stages.")}
    assert {key: tuned[key].shape for key in body} == body
    assert {
        key: value.shape for key, value in student.items() if not key.startswith("head_kd")
    } == {key: value.shape for key, value in tuned.items()}


def test_the_drop_path_of_the_large_class() -> None:
    args = load_recipe("e_spikeformer_imagenet_83m_finetune").model.args
    assert (args["drop_path_rate"], args["drop_path_per"], args["levels"]) == (0.1, "batch", 8)


def test_the_papers_shorter_second_stage(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    """The options that the recipe's comment names."""
    words = [
        "--schedule.epochs",
        "20",
        "--schedule.warmup-epochs",
        "2",
        "--optim.lr",
        "1e-5",
        "--optim.blr",
        "None",
    ]
    assert main(["train", V2_T4, *words, "--show"]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    recipe = read_recipe(tmp_path / "shown.yaml")
    assert (recipe.schedule.epochs, recipe.schedule.warmup_epochs) == (20, 2)
    assert (recipe.optim.lr, recipe.optim.blr) == (1e-5, None)
