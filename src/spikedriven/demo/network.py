"""What the page shows: a trained classifier of garments with its program and its graph, and
images to try it on.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from spikedriven.data.config import DataConfig
from spikedriven.data.fashion import CLASSES, load_embedded
from spikedriven.engine import Program, compile
from spikedriven.errors import InputError
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.trace import trace
from spikedriven.kernels.extension import instruction_sets
from spikedriven.models import create_model
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.neurons.watch import neurons_of
from spikedriven.report.images import network_input
from spikedriven.runs.target import Target, is_model_name, load_target, preprocessing

#: Sets of 28x28 grey garments: what is drawn on the page looks like them.
GARMENTS = ("fashion-mini", "fashion-mnist")
#: Images to pick from, evenly spaced over each class of the test part of fashion-mini; nobody chose
#: them.
SAMPLES_PER_CLASS = 3


@dataclass(frozen=True)
class DemoNetwork:
    """name: for the reader. data: how images are prepared. graph, program: of `model`, which is
    in evaluation mode.
    """

    name: str
    model: SpikeDrivenModel
    data: DataConfig
    graph: SpikeGraph
    program: Program

    @cached_property
    def levels(self) -> int:
        """D: binary steps per time step; 1 for networks of LIF neurons."""
        return max((n.levels for n in neurons_of(self.model).values()), default=1)

    def prepared(self, image: Image.Image) -> Tensor:
        """[1, C, H, W] as in evaluation."""
        return network_input(image, self.data)

    def describe(self) -> dict[str, Any]:
        """Plain values for the head of the page."""
        native = (
            f"compiled engine, {self.program.isa or instruction_sets()[0]}"
            if self.program.is_native
            else None
        )
        return {
            "name": self.name, "family": type(self.model).__name__, "classes": list(CLASSES),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "time_steps": self.model.time_steps, "levels": self.levels,
            "input": [self.model.in_chans, self.data.img_size, self.data.img_size],
            "engine": native or "readable twin: this installation has no compiled engine",
        }  # fmt: skip


def open_network(target: str) -> DemoNetwork:
    """Load, trace and compile what the command line names: a run folder, or a name with pretrained
    weights.

    Raises InputError where it is no classifier of garments, and what loading raises.
    """
    model, data, name = _load(target)
    if (
        not isinstance(model, SpikeDrivenModel)
        or model.input_layout != "image"
        or model.num_classes != len(CLASSES)
    ):
        raise InputError(
            f"{target}: the demo needs a classifier of pictures in the {len(CLASSES)} classes of "
            "Fashion-MNIST, found "
            f"{type(model).__name__} with {getattr(model, 'num_classes', 'no')} classes"
        )
    example = torch.cat([network_input(sample.image, data) for sample in samples()])
    return DemoNetwork(name, model, data, trace(model, example), compile(model, example))


def _load(target: str) -> tuple[Any, Any, str]:
    """(model, data configuration, name)."""
    if is_model_name(target):
        model = create_model(target, pretrained=True).eval()
        return model, preprocessing(model), target
    loaded = load_target(Target(target))
    if loaded.data.dataset not in GARMENTS:
        raise InputError(
            f"{target}: trained on {loaded.data.dataset}, but the demo shows garments; give a run "
            "on "
            f"{' or '.join(GARMENTS)}, such as that of `spikedriven train quickstart`"
        )
    return loaded.model, loaded.data, Path(target).resolve().name


@dataclass(frozen=True)
class Sample:
    """index: in the test part of fashion-mini. image: 28x28 grey."""

    index: int
    label: int
    image: Image.Image


def samples() -> list[Sample]:
    """`SAMPLES_PER_CLASS` images of each class, class by class."""
    images = load_embedded("test")
    found = []
    for label in range(len(CLASSES)):
        own = [i for i, target in enumerate(images.targets.tolist()) if target == label]
        found += [own[k * len(own) // SAMPLES_PER_CLASS] for k in range(SAMPLES_PER_CLASS)]
    return [Sample(i, int(images.targets[i]), images.read_image(i)) for i in found]
