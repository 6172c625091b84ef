"""Time a training step and its memory, beside the same network with other neurons.

Example:

    spikedriven bench train                        # sdt_2_512_cifar, T 4, batch 32
    spikedriven bench train --model e_spikeformer_5m --batch 8 --only ours-bf16 ours released
    spikedriven bench train --time-steps 1 --json

One step is forward and backward, without the optimiser. Every contestant runs in a process of its
own, from the same weights and images, and they take turns. SpikingJelly takes part where it is
installed (pip install 'spikingjelly>=2').
Memory: the most that PyTorch's allocator had given out to tensors, and the most the process held
(own: after the imports). On a GPU the first is the GPU's.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import tyro

from spikedriven.bench.contest import choose, steps
from spikedriven.bench.machine import load, machine
from spikedriven.bench.neuron import measure_neuron
from spikedriven.bench.tables import training_table
from spikedriven.bench.training import CONTESTANTS, Step, measure, without_emulated
from spikedriven.cli.arguments import parse
from spikedriven.cli.bench_output import conditions, told
from spikedriven.cli.listing import print_table
from spikedriven.runs.device import choose_device


@dataclass(frozen=True)
class TrainArguments:
    model: str = "sdt_2_512_cifar"
    """Registered name, or NAME.TAG."""
    batch: int = 32
    """Images per step."""
    time_steps: int | None = None
    """Number of time steps. Default: the variant's."""
    img_size: int | None = None
    """Side of the images. Default: what the variant was made for."""
    only: tuple[str, ...] = ()
    """Contestants. Default: all."""
    rounds: int = 5
    """Number of timed steps of each contestant."""
    threads: int = 2
    """Number of threads of each contestant."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU, where there is one."""
    neuron: bool = True
    """Also measure a neuron alone, beside a copy of the bytes that it moves."""
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of the network; on the command line --model.args.KEY VALUE."""
    json: bool = False
    """Print JSON instead of tables."""


def train(argv: list[str]) -> int:
    """Parse, measure, print; 1 where a contestant failed."""
    arguments = parse(TrainArguments, argv, "bench train", __doc__)
    contestants, device = choose(CONTESTANTS, arguments.only), choose_device(arguments.device)
    left_out = ""
    if not arguments.only:
        contestants, left_out = without_emulated(contestants, device)
    step = Step(arguments.model, arguments.batch, _args(arguments))
    report: dict[str, Any] = {"machine": machine(device), "settings": asdict(arguments)}
    with told(step.model, steps(contestants, arguments.rounds)) as (folder, tell):
        results = measure(
            folder / "step", step, contestants, arguments.threads, arguments.rounds, tell, device
        )
    report["left_out"] = left_out
    report["contestants"] = [result.to_dict() for result in results]
    report["neuron"] = (
        asdict(measure_neuron(arguments.threads, device=device)) if arguments.neuron else None
    )
    report["machine"]["load_at_end"] = load()
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        print_table(training_table(step, results))
        print("\n".join(filter(None, (left_out, _conditions(report)))))
    return int(any(result.status == "failed" for result in results))


def _args(arguments: TrainArguments) -> tuple[tuple[str, Any], ...]:
    given = {"time_steps": arguments.time_steps, "img_size": arguments.img_size}
    return (
        *((key, value) for key, value in given.items() if value is not None),
        *arguments.model_args.items(),
    )


def _conditions(report: dict[str, Any]) -> str:
    lines, neuron = [conditions(report, f"GPU: {report['machine']['GPU']}")], report["neuron"]
    if neuron:
        lines.append(
            "a LIF neuron alone, forward and backward, T 4, fp32: "
            f"{neuron['neuron']['median']:.1f} ms, "
            f"{neuron['ratio']['median']:.2f} "
            f"({neuron['ratio']['q1']:.2f}-{neuron['ratio']['q3']:.2f}) times a "
            "copy of the bytes it moves at least"
        )
    return "\n".join(lines)
