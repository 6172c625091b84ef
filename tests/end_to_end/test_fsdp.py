"""FSDP2 on two processes (CPU, gloo) against DistributedDataParallel: the same training, the
same checkpoints.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from spikedriven.cli import main
from spikedriven.tasks import TASKS
from tests.data.shards import write_wds
from tests.end_to_end.processes import TORCHRUN, finish, start
from tests.end_to_end.scale_run import DoubleTask

pytestmark = pytest.mark.slow
LAST = "checkpoints/step_00000008"
MODEL = {"embed_dim": 16, "depth": 2, "num_heads": 2, "stem_pools": "1111"}


def recipe(root: Path, optimizer: str = "adamw", **run: Any) -> dict[str, Any]:
    """Two epochs of four steps; 17 images to evaluate make two batches at one process and one
    at the other.
    """
    return {
        "task": "double",
        "model": {"name": "sdt_2_256_cifar", "time_steps": 2, "args": MODEL},
        "data": {
            "dataset": "wds",
            "root": str(root),
            "img_size": 16,
            "in_chans": 3,
            "workers": 0,
            "smoothing": 0.1,
        },
        "optim": {"name": optimizer, "lr": 0.01},
        "schedule": {"kind": "cosine_iter", "epochs": 2},
        "run": {
            "device": "cpu",
            "batch_size": 8,
            "accumulation": 2,
            "clip_grad": 0.5,
            "ema": 0.9,
            "log_steps": 1,
            "checkpoint_steps": 3,
            **run,
        },
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ddp and fsdp with two optimisers, and an fsdp run that was stopped within an epoch and
    continued.
    """
    folder = tmp_path_factory.mktemp("fsdp")
    root = write_wds(folder / "set", train=(66, 62), test=(10, 7))
    jobs = [
        {"out": f"{parallel}-{optimizer}", "recipe": recipe(root, optimizer, parallel=parallel)}
        for parallel in ("ddp", "fsdp")
        for optimizer in ("adamw", "lamb")
    ]
    for changes in ({"max_steps": 3}, {}):
        jobs.append(
            {
                "out": "stopped",
                "recipe": recipe(root, "lamb", parallel="fsdp", **changes),
                "resume": True,
            }
        )
    listed = [{**deepcopy(job), "out": str(folder / job["out"])} for job in jobs]
    (folder / "jobs.json").write_text(json.dumps(listed))
    finish(start(*TORCHRUN, "-m", "tests.end_to_end.scale_run", folder / "jobs.json"))
    return folder


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    return [
        line
        for line in map(json.loads, (run / "log.jsonl").read_text().splitlines())
        if line["kind"] == kind
    ]


def tensors(run: Path, name: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / LAST / name)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_losses_weights_and_evaluation_equal_ddp(runs: Path, optimizer: str) -> None:
    ddp, fsdp = runs / f"ddp-{optimizer}", runs / f"fsdp-{optimizer}"
    for kind, values in (
        ("train", ("loss", "grad_norm", "lr")),
        ("eval", ("top1", "top5", "loss")),
    ):
        expected, found = lines(ddp, kind), lines(fsdp, kind)
        assert len(expected) == len(found) == {"train": 8, "eval": 2}[kind]
        for a, b in zip(expected, found, strict=True):
            assert [b[value] for value in values] == pytest.approx(
                [a[value] for value in values], rel=1e-10
            )
    for name in ("model.safetensors", "ema.safetensors"):
        expected, found = tensors(ddp, name), tensors(fsdp, name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            # The true gradient of a bias in front of a batch norm is 0: AdamW scales up what
            # rounding leaves of it.
            atol = (
                1e-9 if key.endswith(("attn.out.conv.bias", "attn.out.bn.running_mean")) else 1e-11
            )
            torch.testing.assert_close(found[key], value, rtol=1e-9, atol=atol)


def test_the_state_of_the_optimiser_is_whole(runs: Path) -> None:
    a, b = (
        torch.load(runs / f"{parallel}-adamw" / LAST / "state.pt", weights_only=True)["optimizer"]
        for parallel in ("ddp", "fsdp")
    )
    assert (
        a["param_groups"] == b["param_groups"] and a["state"].keys() == b["state"].keys() != set()
    )
    for index, moments in a["state"].items():
        for name, value in moments.items():
            torch.testing.assert_close(b["state"][index][name], value, rtol=1e-8, atol=1e-12)


def test_a_stopped_run_ends_with_the_same_bits(runs: Path) -> None:
    for name in ("model.safetensors", "ema.safetensors"):
        whole, stopped = tensors(runs / "fsdp-lamb", name), tensors(runs / "stopped", name)
        assert [key for key in whole if not torch.equal(whole[key], stopped[key])] == []
    assert [line["loss"] for line in lines(runs / "stopped", "train")] == [
        line["loss"] for line in lines(runs / "fsdp-lamb", "train")
    ]


def test_one_process_evaluates_the_checkpoint(
    runs: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "double", DoubleTask)
    monkeypatch.setattr("spikedriven.data.batches.normalize", _in_float64)
    assert main(["eval", str(runs / "fsdp-adamw"), "--workers", "0", "--json"]) == 0
    found, logged = json.loads(capsys.readouterr().out), lines(runs / "fsdp-adamw", "eval")[-1]
    assert found["count"] == 17
    assert [found[name] for name in ("top1", "top5", "loss")] == pytest.approx(
        [logged[name] for name in ("top1", "top5", "loss")], rel=1e-10
    )


def _in_float64(images: torch.Tensor, cfg: Any) -> torch.Tensor:
    from spikedriven.data.transforms import normalize

    return normalize(images, cfg).double()
