"""A network by the name that a user gives: a run, or a registered model with or without a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
import tyro
from torch import Tensor, nn

from spikedriven.data import DataConfig, evaluation_config
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import create_model, load_official, variant_of
from spikedriven.models.pretrained import weights_of
from spikedriven.training.checkpoint import load_run, load_weights


@dataclass(frozen=True)
class Target:
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """A run folder, RUN/best, a checkpoint folder of a run, or a registered model name."""
    checkpoint: Path | None = None
    """Weights for a model name: the authors' file, or .safetensors in our key names. Default: those that ship with the
    package, else random ones."""
    num_classes: int | None = None
    """Classes of a model given by name."""
    img_size: int | None = None
    """Side of the network input of a model given by name. Default: what the variant was made for."""
    time_steps: int | None = None
    """Time steps of a model given by name."""


@dataclass(frozen=True)
class Loaded:
    """model: in evaluation mode. trained: not random weights. data: of the run, or of the variant without a set."""

    model: Any
    trained: bool
    data: Any


def is_model_name(target: str) -> bool:
    """Whether a user means a registered model, not a path. InputError for a name that is neither."""
    if Path(target).exists() or "/" in target:
        return False
    variant_of(target)  # raises for an unknown name, and suggests close ones
    return True


def load_file(model: nn.Module, path: Path) -> None:
    """Read weights in place: our own .safetensors, or a checkpoint of the authors."""
    if path.suffix != ".safetensors":
        load_official(model, path)
        return
    try:
        weights = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
    load_weights(model, weights, path)


def load_target(target: Target, device: str = "cpu") -> Loaded:
    """Build the network that the command line names. device "meta": shapes only, for a name without checkpoint."""
    if not is_model_name(target.target):
        if any(value is not None for value in (target.checkpoint, *_keywords(target).values())):
            raise InputError("--checkpoint, --num-classes, --img-size and --time-steps go with a model name, not a run")
        model, recipe = load_run(target.target)
        return Loaded(model.eval(), True, recipe.data)
    keywords: dict[str, Any] = {k: v for k, v in _keywords(target).items() if v is not None}
    ships = target.checkpoint is None and not keywords and device == "cpu" and weights_of(target.target) is not None
    with torch.device(device):
        model = create_model(target.target, pretrained=ships, **keywords)
    if target.checkpoint is not None:
        load_file(model, target.checkpoint)
    return Loaded(model.eval(), ships or target.checkpoint is not None, None)


def _keywords(target: Target) -> dict[str, int | None]:
    return {"num_classes": target.num_classes, "img_size": target.img_size, "time_steps": target.time_steps}


def data_config(loaded: Loaded, target: Target, name: str, root: Path | None) -> Any:
    """Evaluation samples of a set in the size and the normalisation that the network was made for."""
    if loaded.data is not None:
        return loaded.data
    variant = variant_of(target.target)
    model = loaded.model
    return evaluation_config(
        name,
        root=root,
        img_size=model.img_size[0],
        in_chans=model.in_chans,
        time_steps=model.time_steps,
        crop_pct=variant.crop_pct,
        workers=0,
    )


def preprocessing(model: Any, name: str) -> DataConfig:
    """How single pictures are prepared for a registered network, whatever set it was trained on."""
    variant = variant_of(name)
    return DataConfig(
        img_size=model.img_size[0], in_chans=model.in_chans, crop_pct=variant.crop_pct, mean=variant.mean,
        std=variant.std,
    )  # fmt: skip


def random_batch(model: Any, images: int, seed: int = 0) -> Tensor:
    """Normal noise in place of images, Poisson counts of mean 0.3 in place of event frames."""
    like = model.example_input(images)
    generator = torch.Generator().manual_seed(seed)
    if model.input_layout == "events":
        return torch.poisson(torch.full(like.shape, 0.3), generator).to(like)
    return torch.randn(like.shape, generator=generator).to(like)
