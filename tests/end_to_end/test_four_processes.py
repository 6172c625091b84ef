"""Four gloo processes: training, resume and evaluation by the commands, and exact counts in
every task.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.data.events.sets import write_gesture
from tests.data.shards import write_wds
from tests.end_to_end.processes import TORCHRUN_4, finish, start
from tests.models.detection.detectors import ESF, HEADS
from tests.tasks.toys import DECODER, ENCODER

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parent / "tiny.yaml"
LAST = "checkpoints/step_00000010"
SDT = {
    "name": "sdt_2_256_cifar",
    "num_classes": 3,
    "args": {"embed_dim": 16, "depth": 1, "num_heads": 2},
}


def base(task: str, model: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """One image at a time, so that an image's arithmetic does not depend on which others its
    process has.
    """
    run = {"device": "cpu", "batch_size": 1}
    return {
        "task": task,
        "model": model,
        "data": {"workers": 0, **data},
        "optim": {"lr": 1e-3},
        "run": run,
    }


def recipes(root: Path) -> dict[str, dict[str, Any]]:
    """Every task; the numbers of samples are 7, 11, 7, 5 and 3, none a multiple of four."""
    shards = {"dataset": "wds", "root": str(root / "wds"), "img_size": 16, "in_chans": 3}
    scenes = {
        "dataset": "fashion-scenes",
        "sizes": [64],
        "test_size": 64,
        "max_size": 64,
        "scene_size": 64,
    }
    segmenter = {
        "backbone": "e_spikeformer_3m",
        "backbone_args": ESF["backbone_args"],
        "out_indices": [1, 2, 4],
        "width": 16,
    }
    gesture = {**SDT, "name": "sdt_2_256_gesture", "num_classes": 11}
    events = {"dataset": "dvs128-gesture", "root": str(root), "img_size": 32, "time_steps": 3}
    return {
        "classification": base("classification", SDT, shards),
        "events": base("classification", gesture, events),
        "pretraining": base(
            "pretraining", {"name": "spike_mae_12_512", "args": {**ENCODER, **DECODER}}, shards
        ),
        "detection": base(
            "detection",
            {"name": "mask_rcnn", "num_classes": 10, "args": {**ESF, **HEADS}},
            {**scenes, "train_images": 4, "test_images": 5},
        ),
        "segmentation": base(
            "segmentation",
            {"name": "semantic_fpn", "num_classes": 11, "args": segmenter},
            {"dataset": "fashion-scenes", "img_size": 64, "scenes": 4, "test_scenes": 3},
        ),
    }


COUNTS = {"classification": 7, "events": 11, "pretraining": 7, "detection": 5, "segmentation": 3}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """(one process, four processes)."""
    root = tmp_path_factory.mktemp("tasks")
    write_wds(root / "wds")
    write_gesture(root)
    (root / "recipes.json").write_text(json.dumps(recipes(root)))
    program = ("-m", "tests.end_to_end.eval_run", root / "recipes.json")
    finish(start(*program, root / "one.json"))
    finish(start(*TORCHRUN_4, *program, root / "four.json"))
    return tuple(json.loads((root / f"{name}.json").read_text()) for name in ("one", "four"))


@pytest.mark.parametrize("task", COUNTS)
def test_every_sample_is_evaluated_once(figures: tuple[dict, dict], task: str) -> None:
    one, four = (found[task] for found in figures)
    assert one["seen"] == [list(range(COUNTS[task]))]
    assert (
        len(four["seen"]) == 4
        and sorted(i for share in four["seen"] for i in share) == one["seen"][0]
    )
    assert four["figures"] == pytest.approx(one["figures"], rel=1e-12, nan_ok=False)
    counted = {"classification": "top1", "events": "top1", "segmentation": "pixel_accuracy"}.get(
        task
    )
    assert counted is None or four["figures"][counted] == one["figures"][counted], (
        "ratios of counts are exact"
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whole: ten steps of four processes. stopped: seven steps, then continued to ten."""
    folder = tmp_path_factory.mktemp("four")
    short = ("--run.batch-size", "4", "--run.eval-epochs", "99", "--run.log-steps", "1")
    for out, steps in (("whole", "10"), ("stopped", "7"), ("stopped", "10")):
        words = (
            "-m",
            "spikedriven",
            "train",
            RECIPE,
            "--run.out",
            folder / out,
            "--run.max-steps",
            steps,
            "--resume",
        )
        output = finish(start(*TORCHRUN_4, *words, *short))
        assert output.count("run saved in") == 1, "only the first process talks"
    return folder


def test_a_stopped_run_of_four_ends_with_the_same_bits(runs: Path) -> None:
    for name in ("model.safetensors", "ema.safetensors"):
        whole, stopped = (
            safetensors.torch.load_file(runs / run / LAST / name) for run in ("whole", "stopped")
        )
        assert [key for key in whole if not torch.equal(whole[key], stopped[key])] == []
    logged = [
        [line for line in (runs / run / "log.jsonl").read_text().splitlines() if '"loss"' in line]
        for run in ("whole", "stopped")
    ]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in logged]
    assert losses[0] == losses[1] and len(losses[0]) == 10


def test_four_processes_evaluate_as_one(runs: Path) -> None:
    words = (
        "-m",
        "spikedriven",
        "eval",
        runs / "whole",
        "--split",
        "train",
        "--batch-size",
        "1",
        "--workers",
        "0",
    )
    found = []
    for launcher in ((), TORCHRUN_4):
        output = finish(start(*launcher, *words, "--json"))
        found.append(json.loads(output[output.index("{") : output.rindex("}") + 1]))
    one, four = found
    assert four["confusion"] == one["confusion"] and four["count"] == one["count"] == 200
    assert four["top5"] == one["top5"] and four["loss"] == pytest.approx(one["loss"], rel=1e-12)


def test_resuming_with_another_number_of_processes(runs: Path) -> None:
    words = ("-m", "spikedriven", "train", runs / "whole", "--run.max-steps", "11", "--resume")
    output = finish(start(*words))
    assert "continued with 1 process instead of 4: each now takes 16 samples" in output
    recipe = (runs / "whole" / "recipe.yaml").read_text()
    assert "batch_size: 4\n" in recipe, "the folder keeps the recipe that the run was started with"
