"""Training runs one after the other in the same processes: torchrun -m tests.end_to_end.scale_run
JOBS.json.

JOBS: a list of {"out": folder, "recipe": tree, "resume": bool}. The task "double" is classification
in float64, where what differs between two ways of computing the same is rounding only.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.recipes.reading import recipe_from_dict
from spikedriven.runs.distributed import World, open_world
from spikedriven.tasks import TASKS
from spikedriven.tasks.classification import ClassificationTask
from spikedriven.training.loop import Trainer


class Double(nn.Module):
    """Images in float64 for a network in float64."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.double())


class DoubleTask(ClassificationTask):
    def build_model(self) -> nn.Module:
        return super().build_model().double()

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        return super().loss(Double(model), [batch[0], batch[1].double()])

    def evaluate(self, model: nn.Module, world: World) -> dict[str, float]:
        return super().evaluate(Double(model), world)


if __name__ == "__main__":
    TASKS["double"] = DoubleTask
    torch.use_deterministic_algorithms(True)
    with open_world("cpu") as world:
        for job in json.loads(Path(sys.argv[1]).read_text()):
            Trainer(
                recipe_from_dict(job["recipe"]),
                Path(job["out"]),
                world,
                resume=job.get("resume", False),
            ).fit()
