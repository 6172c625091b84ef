"""Make the weights of a trained run integers of a few bits, by rounding them or by training on.

Example:

    spikedriven quantize runs/quickstart --bits 8               # rounded: runs/quickstart_8bit
    spikedriven quantize runs/quickstart --bits 4 --epochs 5    # trained on, rounding included
    spikedriven quantize runs/quickstart --bits 4 --layers.head 8 --layers.blocks.* 3
    spikedriven quantize runs/quickstart --sweep 8 6 5 4 3 2    # accuracies; writes no run
    spikedriven quantize e_spikeformer_fashion --sweep 8 4 --data fashion-mini

Layers that read the input and classifiers keep 8 bits unless --layers says otherwise. The new run
folder is one like any other: eval, report, predict, energy and compile read it;
quantized.safetensors in it holds the integers.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
import yaml
from rich.console import Console
from torch import nn

from spikedriven.cli.arguments import parse
from spikedriven.data import build_eval_loader
from spikedriven.data.sections import described
from spikedriven.errors import InputError
from spikedriven.graph.quantization import Quantization, record_of
from spikedriven.graph.quantize import quantized_copy
from spikedriven.graph.tables import text_table
from spikedriven.recipes.reading import read_recipe
from spikedriven.recipes.schedule import ScheduleConfig
from spikedriven.recipes.types import QuantConfig, Recipe
from spikedriven.runs.checkpoint import load_run, locate_run
from spikedriven.runs.distributed import World, open_world
from spikedriven.runs.quantized import calibration_images, save_quantized
from spikedriven.runs.target import Loaded, Target, data_config, is_model_name, load_target
from spikedriven.tasks.classification import Accuracy, measure_accuracy
from spikedriven.training.loop import Trainer, exit_status

#: Of the learning rate that the run was trained with.
LR_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Arguments(Target):
    bits: Annotated[int | None, tyro.conf.arg(metavar="2..8")] = None
    """Bits of the weights."""
    layers: Annotated[dict[str, int], tyro.conf.Suppress] = field(default_factory=dict)
    """Bits of some layers by patterns of their names; on the command line --layers.PATTERN BITS."""
    epochs: int = 0
    """Epochs to train on with rounded weights. 0: round only."""
    lr: float | None = None
    """Peak learning rate of these epochs. Default: a tenth of the run's."""
    ranges: Literal["mse", "max"] = "mse"
    """Steps of weights: least squared error on calibration images, or the largest value."""
    power_of_two: bool = False
    """Make the steps of weights powers of two; they are then not trained."""
    calibration: int = 256
    """Number of train images to calibrate on."""
    sweep: tuple[int, ...] = ()
    """Round to each of these numbers of bits, and print the accuracies; no run is written."""
    data: str | None = None
    """Data set of a model given by name."""
    root: Path | None = None
    """Data folder."""
    out: Path | None = None
    """The new run folder. Default: the run's with _4bit at the end."""
    json: bool = False
    """Print JSON instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, quantize, evaluate, print."""
    words, layers = _layer_bits(argv)
    arguments = dataclasses.replace(parse(Arguments, words, "quantize", __doc__), layers=layers)
    with open_world("auto") as world:
        if arguments.sweep:
            return _sweep(arguments, world)
        return _one(arguments, world)


def _layer_bits(argv: list[str]) -> tuple[list[str], dict[str, int]]:
    """Take --layers.PATTERN BITS out."""
    rest: list[str] = []
    found: dict[str, int] = {}
    words = iter(argv)
    for word in words:
        if not word.startswith("--layers."):
            rest.append(word)
            continue
        pattern, equals, value = word.removeprefix("--layers.").partition("=")
        text = value if equals else next(words, "")
        bits = yaml.safe_load(text) if text else None
        if type(bits) is not int:
            raise InputError(f"{word} {text}: expected --layers.PATTERN BITS, a whole number")
        found[pattern] = bits
    return rest, found


# One run
# --------------------------------------------------------------------------------------------------


def _one(arguments: Arguments, world: World) -> int:
    if arguments.bits is None:
        raise InputError("give --bits 2..8, or --sweep with several")
    if is_model_name(arguments.target):
        raise InputError(
            f"{arguments.target} is a model name: only a run can become a run; --sweep takes names "
            "too"
        )
    folder, recipe = _recipe(arguments)
    trainer = Trainer(recipe, folder, world)
    status = 0
    if arguments.epochs:
        status = exit_status(trainer.fit())
    else:
        trainer.save_untrained()
    if world.is_main and not status:
        _finish(folder, recipe, trainer.figures, arguments.json)
    return status


def _recipe(arguments: Arguments) -> tuple[Path, Recipe]:
    """The new run's folder and recipe."""
    before, checkpoint = locate_run(Path(arguments.target))
    recipe = read_recipe(before / "recipe.yaml")
    if recipe.quant.bits is not None:
        raise InputError(
            f"{before}: its weights have {recipe.quant.bits} bits already; name the run it was "
            "made of"
        )
    folder = arguments.out or before.with_name(f"{before.name}_{arguments.bits}bit")
    learn = bool(arguments.epochs) and not arguments.power_of_two
    quant = QuantConfig(
        bits=arguments.bits, layers=arguments.layers, ranges=arguments.ranges, learn_steps=learn,
        power_of_two=arguments.power_of_two, images=arguments.calibration,
    )  # fmt: skip
    how = f"trained on for {arguments.epochs} epochs" if arguments.epochs else "rounded"
    return folder, dataclasses.replace(
        recipe,
        description=f"{before.name}, weights of {arguments.bits} bits, {how}",
        model=dataclasses.replace(recipe.model, init=str(checkpoint), init_strict=True),
        quant=quant,
        optim=_optim(recipe, arguments.lr),
        schedule=ScheduleConfig(kind="cosine_iter", epochs=max(arguments.epochs, 1)),
        run=dataclasses.replace(
            recipe.run, out=str(folder), ema=None, ema_warmup=False, max_steps=0, compile=False
        ),
    )


def _optim(recipe: Recipe, lr: float | None) -> Any:
    optim = recipe.optim
    if lr is not None:
        return dataclasses.replace(optim, lr=lr, blr=None)
    shares = {
        name: getattr(optim, name) * LR_SHARE
        for name in ("lr", "blr")
        if getattr(optim, name) is not None
    }
    return dataclasses.replace(optim, **shares)


def _finish(folder: Path, recipe: Recipe, figures: dict[str, float], as_json: bool) -> None:
    model, _ = load_run(folder)
    record = _record(model)
    file = folder / "quantized.safetensors"
    save_quantized(model, file, {"model": recipe.model.name})
    found = {
        "run": str(folder),
        "file": str(file),
        "bits": list(record.bits),
        "weight_bytes": record.weight_bytes(),
        "left": list(record.left),
        "data": described(recipe.data),
        **figures,
    }
    if as_json:
        print(json.dumps(found, indent=1))
        return
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"run saved in {folder}: {shown} ({found['data']})")
    layers = ", ".join(f"{_count(record, bits)} layers of {bits} bits" for bits in record.bits)
    print(
        f"{layers}; {record.weight_bytes() / 1e6:.3f} MB with scales and biases; integers: {file}"
    )
    for sentence in record.left:
        print(f"not quantized: {sentence}")


def _record(model: nn.Module) -> Quantization:
    record = record_of(model)
    assert record is not None
    return record


def _count(record: Quantization, bits: int) -> int:
    return sum(layer.bits == bits for layer in record.layers.values())


# Several numbers of bits
# -------------------------------------------------------------------------------------------


def _sweep(arguments: Arguments, world: World) -> int:
    if arguments.epochs or arguments.bits is not None:
        raise InputError(
            "--sweep rounds to several numbers of bits; train with --bits and --epochs, one at a "
            "time"
        )
    loaded = load_target(arguments)
    if not loaded.trained:
        raise InputError(
            f"{arguments.target}: no trained weights; give a run, or --checkpoint FILE"
        )
    data = data_config(loaded, arguments, arguments.data or "", arguments.root)
    with Console(stderr=True).status("rounding and evaluating"):
        rows = list(_rows(loaded, data, arguments, world))
    if not world.is_main:
        return 0
    if arguments.json:
        print(
            json.dumps(
                {"target": arguments.target, "data": described(data), "rows": rows}, indent=1
            )
        )
        return 0
    print(f"{arguments.target} on {described(data)}")
    header = ("weights", "top-1", "correct of", "MB")
    cells = [
        (r["weights"], f"{r['top1']:.2f}", str(r["images"]), f"{r['weight_bytes'] / 1e6:.3f}")
        for r in rows
    ]
    print(text_table(header, cells, right=header[1:]))
    return 0


def _rows(
    loaded: Loaded, data: Any, arguments: Arguments, world: World
) -> Iterator[dict[str, Any]]:
    model: nn.Module = loaded.model
    floats = sum(parameter.numel() for parameter in model.parameters()) * 4
    yield _row("fp32", floats, _accuracy(model, data, world))
    for bits in arguments.sweep:
        images = calibration_images(data, arguments.calibration)
        wanted = {**arguments.layers, "*": bits} if arguments.layers else bits
        options = {"ranges": arguments.ranges, "power_of_two": arguments.power_of_two}
        small = quantized_copy(model, images, wanted, **options)
        yield _row(f"{bits} bits", _record(small).weight_bytes(), _accuracy(small, data, world))


def _row(weights: str, size: int, found: Accuracy) -> dict[str, Any]:
    return {"weights": weights, "top1": found.top1, "images": found.count, "weight_bytes": size}


def _accuracy(model: nn.Module, data: Any, world: World) -> Accuracy:
    loader: Any = build_eval_loader(
        data, "test", batch_size=64, rank=world.rank, world_size=world.size
    )
    with torch.inference_mode():
        return measure_accuracy(model.to(world.device), loader, loader.dataset.num_classes, world)
