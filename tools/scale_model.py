"""Write the tables of docs/scale.md and docs/figures/scale.svg: time, memory and cost of the
published recipes.

    python tools/scale_model.py                    # measures here, then counts; ten minutes
    python tools/scale_model.py --keep measured    # counts again
    python tools/scale_model.py --keep all         # from docs/figures/scale.json

Counted: operations, parameters and bytes kept for the backward pass of each published recipe.
Measured: training steps of a few networks on the CPU, from which the two constants of the time
model come. All about GPUs is extrapolated.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
import tyro
from rich.progress import track
from scale_page import DOCS, Counts, Gpu, draw, fill, tables
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spikedriven.bench.machine import machine
from spikedriven.files import write_whole
from spikedriven.kernels import arrays
from spikedriven.models import create_model
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.runs.networks import build_timm
from spikedriven.tasks import create_task

PUBLISHED = (
    "sdt_",
    "spikformer_",
    "spikingformer_",
    "qkformer_",
    "meta_spikeformer_",
    "e_spikeformer_",
    "spike_mae_",
)
OURS = ("_fashion", "_fashion_mini")
CALIBRATION = (
    ("sdt_8_384", 112, {}),
    ("sdt_2_512_cifar", 32, {}),
    ("spikingformer_8_384", 112, {}),
    ("meta_spikeformer_15m", 224, {"time_steps": 1}),
    ("e_spikeformer_5m", 224, {}),
    ("e_spikeformer_19m", 224, {}),
)


@dataclass(frozen=True)
class Arguments:
    keep: Literal["nothing", "measured", "all"] = "nothing"
    """What to take from the JSON file of an earlier run."""
    out: Path = DOCS / "figures" / "scale.svg"
    """The figure; what it is drawn from is written beside it as .json."""
    page: Path = DOCS / "scale.md"
    """The page with the tables."""


@contextmanager
def eager() -> Iterator[None]:
    """Without the compiled CPU kernels of this package: what any device computes that has none."""
    with mock.patch.object(arrays, "takes", lambda x: False):
        yield


# Counting
# --------------------------------------------------------------------------------------------------


def count(
    model: nn.Module, batch: Tensor, call: Callable[[], Any] | None = None
) -> tuple[float, float]:
    """(multiply-accumulates, bytes kept for the backward pass), per image, of a forward pass in
    training mode.
    """
    owned = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # views of one storage count once
        return tensor

    with (
        FlopCounterMode(display=False) as flops,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
    ):
        output = (call or (lambda: model(batch)))()
    saved = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in owned)
    del output
    return flops.get_total_flops() / 2 / len(batch), saved / len(batch)


def count_recipe(name: str) -> Counts:
    """Built without memory for weights; masked pre-training, whose shapes depend on the mask,
    in memory.
    """
    recipe = load_recipe(name)
    place = "cpu" if recipe.task == "pretraining" else "meta"
    classes = None if recipe.task == "pretraining" else recipe.data.entry.facts.num_classes
    recipe = dataclasses.replace(
        recipe, model=dataclasses.replace(recipe.model, num_classes=classes)
    )
    task_recipe = dataclasses.replace(recipe, distill=type(recipe.distill)(), task=_task(recipe))
    with torch.device(place):
        model = create_task(task_recipe).build_model().train()
        shape = _input_shape(recipe, model)
        macs, saved = count(model, torch.zeros(shape))
        teacher = _teacher_macs(recipe, shape)
    run, entry = recipe.run, recipe.data.entry.facts
    images = getattr(recipe.data, "epoch_images", None) or entry.train_images
    params = sum(parameter.numel() for parameter in model.parameters())
    return Counts(
        params,
        macs,
        teacher,
        saved,
        run.batch_size,
        images,
        recipe.schedule.total_epochs,
        run.amp != "none",
        run.ema is not None,
    )


def _task(recipe: Recipe) -> str:
    return "classification" if recipe.task == "distillation" else recipe.task


def _input_shape(recipe: Recipe, model: Any) -> tuple[int, ...]:
    side = recipe.data.img_size
    steps = (recipe.data.time_steps,) if hasattr(recipe.data, "time_steps") else ()
    return (2, *steps, recipe.data.in_chans, side, side)


def _teacher_macs(recipe: Recipe, shape: tuple[int, ...]) -> float:
    if recipe.task != "distillation":
        return 0.0
    teacher = build_timm(str(recipe.distill.teacher), pretrained=False)
    return count(teacher, torch.zeros(shape))[0]


# Measuring
# --------------------------------------------------------------------------------------------------


def seconds(function: Callable[[], Any], rounds: int = 3) -> float:
    """Median processor time of a call in one thread, one call before it not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times[1:]))


def measure_network(
    name: str, side: int, keywords: Mapping[str, Any], images: int = 2
) -> dict[str, Any]:
    """A training step (forward and backward, fp32) and its counts."""
    model = create_model(name, img_size=side, **keywords).train()
    batch = torch.randn(images, model.in_chans, side, side)
    macs, saved = count(model, batch)
    step = seconds(lambda: model(batch).square().mean().backward())
    return {"name": name, "side": side, "macs": macs, "saved": saved, "seconds": step / images}


def half_share() -> float:
    """Bytes kept under bf16 autocast to those kept in fp32, mean over three families."""
    shares = []
    for name in ("sdt_2_256_cifar", "meta_spikeformer_15m", "e_spikeformer_5m"):
        model = create_model(name, img_size=64).train()
        whole = per_further_image(model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shares.append(per_further_image(model) / whole)
    return float(np.mean(shares))


def per_further_image(model: nn.Module) -> float:
    """Bytes that one more image adds: what is kept once, such as weights in half precision,
    cancels.
    """
    few, many = (images * count(model, torch.randn(images, 3, 64, 64))[1] for images in (2, 4))
    return (many - few) / 2


def measured() -> dict[str, Any]:
    """What depends on the machine."""
    torch.set_num_threads(1)  # processor time is then the time that an idle machine would take
    a, b = torch.randn(2, 1536, 1536)
    source = torch.randn(64 << 20)
    target = torch.empty_like(source)
    found: dict[str, Any] = {"machine": machine()}
    found["gemm"] = 2 * 1536**3 / seconds(lambda: a @ b, 9)
    found["copy"] = 2 * source.nbytes / seconds(lambda: target.copy_(source), 9)
    found["networks"] = [
        measure_network(*network) for network in track(CALIBRATION, "training steps")
    ]
    return found


def counted() -> dict[str, Any]:
    """The rest, which is the same on every machine."""
    found: dict[str, Any] = {"half_share": half_share()}
    names = [
        name for name in list_recipes() if name.startswith(PUBLISHED) and not name.endswith(OURS)
    ]
    found["left_out"] = [name for name in names if load_recipe(name).task == "detection"]
    kept = [name for name in names if name not in found["left_out"]]
    found["recipes"] = {
        name: dataclasses.asdict(count_recipe(name)) for name in track(kept, "recipes")
    }
    return found


def main(argv: Sequence[str] | None = None) -> None:
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    data = arguments.out.with_suffix(".json")
    with eager():
        if arguments.keep == "nothing":
            write_whole(data, json.dumps(measured(), indent=1).encode())
        found = json.loads(data.read_text())
        if arguments.keep != "all":
            found |= counted()
            write_whole(data, json.dumps(found, indent=1).encode())
    page = fill(arguments.page.read_text(encoding="utf-8"), tables(found, Gpu()))
    write_whole(arguments.page, page.encode())
    draw(found, Gpu(), arguments.out)


if __name__ == "__main__":
    main()
