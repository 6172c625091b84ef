"""The toy task as a program: python -m tests.end_to_end.toy_run FOLDER BATCH_SIZE ACCUMULATION
[MAX_STEPS]; goes on where the folder has a run."""

import sys
from pathlib import Path

from spikedriven.runs.distributed import open_world
from spikedriven.tasks import TASKS
from spikedriven.training.loop import Trainer
from tests.training.toys import ToyTask, toy_recipe

if __name__ == "__main__":
    TASKS["toy"] = ToyTask
    run = {"batch_size": int(sys.argv[2]), "ema": 0.9, "accumulation": int(sys.argv[3])}
    run["max_steps"] = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    with open_world("cpu") as world:
        Trainer(toy_recipe(run), Path(sys.argv[1]), world, resume=True).fit()
