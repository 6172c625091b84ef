"""Time a network on this machine, beside the other ways to run it.

Example:

    spikedriven bench engine                       # the four networks of the documentation
    spikedriven bench engine --models sdt_2_512_cifar --rounds 50 --json
    spikedriven bench engine --models runs/quickstart --only engine eager openvino
    spikedriven bench engine --models sdt_8_512.in1k --checkpoint authors.pth.tar --image cat.jpg
    spikedriven bench engine --models meta_spikeformer_15m@4 --rate 0.1
    spikedriven bench train --model e_spikeformer_5m --batch 8         # training steps

Every contestant runs in a process of its own, on the same weights and inputs, and they take turns.
onnxruntime and openvino take part where they are installed (pip install 'spikedriven[bench]').
NAME@T sets the number of time steps. `spikedriven bench engine --help` lists the options;
docs/maintainers/measuring_the_engine.md describes the measurement.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from spikedriven.bench.contest import Result, choose, steps
from spikedriven.bench.contestants import CONTESTANTS
from spikedriven.bench.engine import measure
from spikedriven.bench.machine import hold_to, load, machine
from spikedriven.bench.subject import Subject, make_subject
from spikedriven.bench.tables import table
from spikedriven.cli.arguments import parse
from spikedriven.cli.bench_output import conditions, told
from spikedriven.cli.bench_train import train
from spikedriven.cli.listing import print_table
from spikedriven.errors import InputError
from spikedriven.runs.target import Target

#: The networks whose speed is documented.
DOCUMENTED = ("sdt_8_512", "sdt_2_512_cifar", "e_spikeformer_10m", "meta_spikeformer_15m@4")


@dataclass(frozen=True)
class EngineArguments:
    models: tuple[str, ...] = DOCUMENTED
    """Registered names, NAME@T for other time steps, NAME.TAG, or run folders."""
    only: tuple[str, ...] = ()
    """Contestants. Default: all."""
    rounds: int = 30
    """Number of timed runs of each contestant."""
    threads: int = 2
    """Number of threads of each contestant."""
    isa: Literal["avx512", "avx512bw", "avxvnni", "avx2", "dotprod", "portable"] | None = None
    """Instruction set for all contestants that can be limited to one. Default: what the machine
    has.
    """
    batch: int = 1
    """Images per run."""
    checkpoint: Path | None = None
    """Weights for a single model name: the authors' file, or .safetensors in our key names.
    Default: random.
    """
    rate: float | None = None
    """Firing rate that random weights are set to. Default: 0.15."""
    rule: bool = False
    """Random weights by the rule of the golden figures, whatever rates they have."""
    image: tuple[Path, ...] = ()
    """Pictures to run on. Default: random ones."""
    inputs: int = 8
    """Number of random pictures."""
    img_size: int | None = None
    """Side of the network input. Default: what the variant was made for."""
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of the networks; on the command line --model.args.KEY VALUE."""
    json: bool = False
    """Print JSON instead of tables."""


def engine(argv: list[str]) -> int:
    """Parse, measure every network, print; 1 where a contestant failed."""
    arguments = parse(EngineArguments, argv, "bench engine", __doc__)
    if arguments.checkpoint is not None and len(arguments.models) != 1:
        raise InputError("--checkpoint goes with one model: name it with --models")
    if arguments.isa is not None:
        hold_to(arguments.isa)
    choose(CONTESTANTS, arguments.only)  # an unknown name is told before anything runs
    report: dict[str, Any] = {"machine": machine(), "settings": _settings(arguments), "models": []}
    failed = False
    for target in [_target(name, arguments) for name in arguments.models]:
        subject, results = _one(target, arguments)
        report["models"].append(
            {**subject.to_dict(), "contestants": [result.to_dict() for result in results]}
        )
        failed = failed or any(result.status == "failed" for result in results)
        if not arguments.json:
            print_table(table(subject, results))
    report["machine"]["load_at_end"] = load()
    print(json.dumps(report, indent=1) if arguments.json else _conditions(report))
    return int(failed)


def _one(target: Target, arguments: EngineArguments) -> tuple[Subject, list[Result]]:
    contestants = choose(CONTESTANTS, arguments.only)
    with told(target.target, steps(contestants, arguments.rounds)) as (folder, tell):
        tell("weights")
        subject = make_subject(
            folder / "subject",
            target,
            arguments.image,
            max(arguments.inputs, arguments.batch),
            arguments.rate,
            arguments.rule,
        )
        results = measure(
            subject, contestants, arguments.threads, arguments.batch, arguments.rounds, tell
        )
    return subject, results


def _target(name: str, arguments: EngineArguments) -> Target:
    """NAME, NAME@T or a run folder."""
    name, _, time_steps = (name, "", "") if Path(name).exists() else name.partition("@")
    if time_steps and not time_steps.isdecimal():
        raise InputError(
            f"{name}@{time_steps}: what follows @ is the number of time steps, such as {name}@4"
        )
    target = Target(
        name,
        checkpoint=arguments.checkpoint,
        img_size=arguments.img_size,
        model_args=arguments.model_args,
    )
    return replace(target, time_steps=int(time_steps)) if time_steps else target


def _settings(arguments: EngineArguments) -> dict[str, Any]:
    return {
        key: [str(v) for v in value]
        if isinstance(value, tuple)
        else value
        if key != "checkpoint"
        else value and str(value)
        for key, value in asdict(arguments).items()
        if key != "json"
    }


def _conditions(report: dict[str, Any]) -> str:
    batch = f"batch {report['settings']['batch']}"
    return (
        f"{conditions(report, batch)}. x engine: how many times slower than the engine, per round."
    )


#: What can be measured -> the function that takes the words after it.
KINDS: dict[str, Callable[[list[str]], int]] = {"engine": engine, "train": train}


def run(argv: list[str]) -> int:
    """Hand the words after the kind to it."""
    if argv and argv[0] in KINDS:
        return KINDS[argv[0]](argv[1:])
    usage = f"usage: spikedriven bench {{{','.join(KINDS)}}} ...\n\n{__doc__}"
    if argv and argv[0] in ("-h", "--help"):
        print(usage)
        return 0
    raise InputError(f"say what to measure: {' or '.join(KINDS)}\n\n{usage}")
