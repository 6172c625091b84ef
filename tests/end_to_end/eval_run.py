"""Evaluate networks with fixed weights: [torchrun] -m tests.end_to_end.eval_run RECIPES.json
RESULTS.json.

RECIPES: name -> recipe tree. RESULTS: name -> {"figures", "seen": which samples each process read}.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from spikedriven.data.loaders import EvalLoader
from spikedriven.recipes.reading import recipe_from_dict
from spikedriven.runs.distributed import World, gather, open_world
from spikedriven.tasks import create_task
from tests.networks import enliven

SEEN: list[int] = []


class Watched(EvalLoader):
    def __iter__(self) -> Iterator:
        SEEN.extend(self.sampler)
        return super().__iter__()


def evaluate(tree: dict, world: World) -> dict:
    task = create_task(recipe_from_dict(tree))
    SEEN.clear()
    torch.manual_seed(0)
    model = enliven(task.build_model()).eval()
    with torch.inference_mode():
        figures = task.evaluate(model, world)
    return {"figures": figures, "seen": gather(list(SEEN), world)}


if __name__ == "__main__":
    for module in [m for name, m in sys.modules.items() if name.startswith("spikedriven.data")]:
        if getattr(module, "EvalLoader", None) is EvalLoader:
            module.EvalLoader = Watched  # type: ignore[attr-defined]
    with open_world("cpu") as world:
        found = {
            name: evaluate(tree, world)
            for name, tree in json.loads(Path(sys.argv[1]).read_text()).items()
        }
    if world.is_main:
        Path(sys.argv[2]).write_text(json.dumps(found))
