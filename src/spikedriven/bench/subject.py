"""One network with its weights and inputs, in a folder that every contestant's process reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikedriven.bench.rates import Density, density, set_rates
from spikedriven.bench.rule import load_rule
from spikedriven.errors import InputError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.report.images import read_image
from spikedriven.report.subject import refuse_pretraining
from spikedriven.runs.target import (
    Loaded,
    Target,
    load_target,
    preprocessing,
    random_batch,
    resolved,
)

#: Share of neurons that fire where nothing else is asked for: about that of the published networks.
USUAL_RATE = 0.15
#: Inputs on which rates are set and measured: enough for a mean over millions of neuron outputs.
MEASURED = 4


@dataclass(frozen=True)
class Subject:
    """folder: holds target.json, weights.safetensors and inputs.safetensors (inputs and the float
    model's outputs).

    target: how the network is built. weights, images: where both come from, for the reader.
    unmoved: neurons whose rate could not be set.
    """

    folder: Path
    target: Target
    weights: str
    images: str
    input_shape: tuple[int, ...]
    time_steps: int
    density: Density
    unmoved: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.target.target,
            "time_steps": self.time_steps,
            "input": list(self.input_shape),
            "weights": self.weights,
            "images": self.images,
            "density": asdict(self.density),
            "rate_not_set": list(self.unmoved),
        }


def make_subject(
    folder: Path,
    target: Target,
    images: Sequence[Path] = (),
    inputs: int = 8,
    rate: float | None = None,
    rule: bool = False,
) -> Subject:
    """Build the network, give it weights, make inputs, compute what the float model answers, and
    write it all.

    images: picture files; else ``inputs`` random ones. rate, rule: for networks without trained
    weights, the share of neurons to fire (default `USUAL_RATE`), or the rule's weights as they are.
    """
    loaded = load_target(target)
    refuse_pretraining(loaded.model, target.target)
    if not isinstance(loaded.model, SpikeDrivenModel):
        raise InputError(
            f"{target.target} is no classifier: {type(loaded.model).__name__} cannot be benched"
        )
    if loaded.trained and (rule or rate is not None):
        raise InputError(
            f"{target.target}: --rule and --rate make random weights, but this network has trained "
            "ones"
        )
    if rule and rate is not None:
        raise InputError(
            "--rule takes the rule's weights as they are; --rate moves their biases: give one of "
            "the two"
        )
    batch, images_text = _inputs(loaded, target, images, inputs)
    weights, unmoved = _weights(
        loaded, target, batch, USUAL_RATE if rate is None and not rule else rate
    )
    with (
        torch.no_grad()
    ):  # one by one: in random networks, the rounding of another batch size can flip spikes
        outputs = [loaded.model(image) for image in batch.split(1)]
    folder.mkdir(parents=True)
    rebuilt = resolved(target, loaded)
    (folder / "target.json").write_text(json.dumps(asdict(rebuilt)))
    # clones: heads that share a tensor would be refused
    state = {key: value.clone().contiguous() for key, value in loaded.model.state_dict().items()}
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    tensors = {"inputs": batch.contiguous(), "outputs": torch.cat(outputs, outputs[0].ndim - 2)}
    safetensors.torch.save_file(tensors, folder / "inputs.safetensors")
    steps = getattr(loaded.model, "time_steps", 1)
    shape = tuple(batch.shape[1:])
    fired = density(loaded.model, batch[:MEASURED])
    return Subject(folder, rebuilt, weights, images_text, shape, steps, fired, tuple(unmoved))


def load_model(folder: Path) -> nn.Module:
    """The network of a subject's folder, in evaluation mode."""
    fields = json.loads((folder / "target.json").read_text())
    model = load_target(Target(**fields)).model
    model.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    return model.eval()


def load_inputs(folder: Path) -> tuple[Tensor, Tensor]:
    """(inputs [N, ...], outputs of the float model for them)."""
    tensors = safetensors.torch.load_file(folder / "inputs.safetensors")
    return tensors["inputs"], tensors["outputs"]


def _weights(
    loaded: Loaded, target: Target, batch: Tensor, rate: float | None
) -> tuple[str, list[str]]:
    if loaded.trained:
        return str(target.checkpoint or target.target), []
    load_rule(loaded.model, target.target)
    if rate is None:
        return "random, by the rule of the golden figures", []
    return f"random, biases moved to a rate of {rate:g}", set_rates(
        loaded.model, batch[:MEASURED], rate
    )


def _inputs(
    loaded: Loaded, target: Target, images: Sequence[Path], count: int
) -> tuple[Tensor, str]:
    if images:
        data = loaded.data or preprocessing(loaded.model)
        return torch.cat([read_image(path, data) for path in images]), f"{len(images)} files"
    if count < 1:
        raise InputError(f"--inputs {count}: at least 1 is needed")
    if loaded.model.input_layout == "events":
        return random_batch(loaded.model, count), f"{count} random: Poisson counts of mean 0.3"
    return smooth_images(
        loaded.model.example_input(count)
    ), f"{count} random: smooth patches with a little noise"


def smooth_images(like: Tensor, seed: int = 0) -> Tensor:
    """Random images [N, C, H, W] of mean 0 and deviation 1 in which neighbouring pixels
    resemble each other.
    """
    rng = torch.Generator().manual_seed(seed)
    *lead, height, width = like.shape
    coarse = torch.randn(*lead, max(height // 16, 2), max(width // 16, 2), generator=rng)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    images = smooth + 0.2 * torch.randn(like.shape, generator=rng)
    return (images - images.mean()) / images.std()
