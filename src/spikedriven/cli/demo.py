"""Open a page on this machine: draw or pick a garment, and watch a trained network classify it,
spike by spike.

Example:

    spikedriven demo                               # the shipped network, e_spikeformer_fashion
    spikedriven demo runs/quickstart --port 0      # a run of your own, on any free port

Shown are the prediction after each time step, the spikes of every layer at every step, firing
rates, attention maps, the energy of this very image, and the latency of the compiled program beside
PyTorch. The page is served on 127.0.0.1 only, needs no network, and sends nothing anywhere. Ctrl-C
stops it.
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from spikedriven.cli.arguments import read
from spikedriven.demo import DemoServer, Inference, open_network
from spikedriven.errors import InputError


@dataclass(frozen=True)
class Arguments:
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")] = (
        "e_spikeformer_fashion"
    )
    """A run on fashion-mini or fashion-mnist (folder, RUN/best or checkpoint), or a name with
    pretrained weights.
    """
    port: int = 8765
    """Port of 127.0.0.1; 0: any free one."""
    threads: int | None = None
    """Threads of the engine and of PyTorch. Default: all cores of this process."""


def run(argv: list[str]) -> int:
    """Parse `argv`, load, serve until stopped."""
    arguments = read(Arguments, argv, "demo", __doc__)
    if arguments.threads is not None and arguments.threads < 1:
        raise InputError(f"--threads {arguments.threads}: expected 1 or more")
    with DemoServer(
        Inference(open_network(arguments.model), arguments.threads), arguments.port
    ) as server:
        print(
            f"{server.inference.network.name}: open {server.url} in a browser; Ctrl-C stops",
            flush=True,
        )
        server.serve()
    print("stopped")
    return 0
