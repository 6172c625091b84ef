"""How long a training step takes and how much memory it needs, against the same network with other neurons.

Example:

    spikedriven bench train                                           (sdt_2_512_cifar, T 4, batch 32)
    spikedriven bench train --model e_spikeformer_5m --batch 8 --only ours-bf16 ours released
    spikedriven bench train --time-steps 1 --json

One step is forward and backward, without the optimiser. Every contestant runs in a process of its own, from the same
weights and images; all are asked in turns. SpikingJelly takes part where it is installed (pip install spikingjelly).
Memory: the most that PyTorch's allocator had given out to tensors, and the most the process held (own: after the
imports). On a GPU the first is the GPU's.
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from spikedriven.bench.machine import load, machine
from spikedriven.bench.neuron import measure_neuron
from spikedriven.bench.tables import training_table
from spikedriven.bench.training import Step, choose, measure, steps
from spikedriven.cli.arguments import parse
from spikedriven.training.device import choose_device


@dataclass(frozen=True)
class TrainArguments:
    model: str = "sdt_2_512_cifar"
    """Registered name, or NAME.TAG."""
    batch: int = 32
    """Images per step."""
    time_steps: int | None = None
    """Default: the variant's."""
    img_size: int | None = None
    """Side of the images. Default: what the variant was made for."""
    only: tuple[str, ...] = ()
    """Contestants. Default: all."""
    rounds: int = 5
    """Timed steps of each contestant."""
    threads: int = 2
    """For each contestant."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU, where there is one."""
    neuron: bool = True
    """Measure a neuron alone too, against a copy of the bytes it moves."""
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of the network; on the command line --model.args.KEY VALUE."""
    json: bool = False
    """Print JSON instead of tables."""


def train(argv: list[str]) -> int:
    """Parse, measure, print; 1 where a contestant failed."""
    arguments = parse(TrainArguments, argv, "bench train", __doc__)
    contestants, device = choose(arguments.only), choose_device(arguments.device)
    step = Step(arguments.model, arguments.batch, _args(arguments))
    report: dict[str, Any] = {"machine": machine(device), "settings": asdict(arguments)}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="spikedriven-bench-") as folder,
        Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress,
    ):
        bar = progress.add_task(step.model, total=steps(contestants, arguments.rounds))

        def tell(text: str | None) -> None:
            if text is None:
                progress.advance(bar)
            else:
                progress.update(bar, description=f"{step.model}: {text}")

        results = measure(
            Path(folder) / "step",
            step,
            contestants,
            arguments.threads,
            arguments.rounds,
            tell,
            device,
        )
    report["contestants"] = [result.to_dict() for result in results]
    report["neuron"] = (
        asdict(measure_neuron(arguments.threads, device=device)) if arguments.neuron else None
    )
    report["machine"]["load_at_end"] = load()
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=120)
        console.print(training_table(step, results))
        console.print(_conditions(report))
    return int(any(result.status == "failed" for result in results))


def _args(arguments: TrainArguments) -> tuple[tuple[str, Any], ...]:
    given = {"time_steps": arguments.time_steps, "img_size": arguments.img_size}
    return (
        *((key, value) for key, value in given.items() if value is not None),
        *arguments.model_args.items(),
    )


def _conditions(report: dict[str, Any]) -> str:
    found, neuron = report["machine"], report["neuron"]
    lines = [
        f"{found['processor']} ({', '.join(found['flags'])}), {found['usable_cores']} cores, busy before: "
        f"{found['load']}, after: {found['load_at_end']}; torch {found['torch']}; {report['settings']['threads']} "
        f"threads, {report['settings']['rounds']} rounds. GPU: {found['GPU']}"
    ]
    if neuron:
        lines.append(
            f"a LIF neuron alone, forward and backward, T 4, fp32: {neuron['neuron']['median']:.1f} ms, "
            f"{neuron['ratio']['median']:.2f} ({neuron['ratio']['q1']:.2f}-{neuron['ratio']['q3']:.2f}) times a "
            "copy of the bytes it moves at least"
        )
    return "\n".join(lines)
