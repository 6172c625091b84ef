"""How long one image takes, in the compiled program and in PyTorch."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spikedriven.bench.rounds import Spread
from spikedriven.demo.network import DemoNetwork

#: Rounds stop after so many, or when the time (seconds) is used up and there are a few.
MOST, LEAST, BUDGET = 15, 3, 0.3


def latency(network: DemoNetwork, x: Tensor) -> dict[str, Any]:
    """Milliseconds for one image [1, C, H, W]: median and quartiles of several runs, program and
    PyTorch in turns.

    The run in front of each timed one brings the weights back into the caches, as in `spikedriven
    bench engine`.
    """
    runs: dict[str, Callable[[], Tensor]] = {
        "engine": lambda: network.program(x),
        "eager": lambda: network.model(x),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + BUDGET
    with torch.inference_mode():
        while len(times["eager"]) < LEAST or (
            len(times["eager"]) < MOST and time.perf_counter() < end
        ):
            for name, run in runs.items():
                run()
                start = time.perf_counter()
                run()
                times[name].append(1000 * (time.perf_counter() - start))
    return {
        **{name: vars(Spread.of(found)) for name, found in times.items()},
        "runs": len(times["eager"]),
        "threads": {"engine": network.program.threads, "eager": torch.get_num_threads()},
    }
