"""`spikedriven bench train`: one training step (forward and backward), the same network with other
neurons.

Every contestant has a process of its own and starts from the same weights, images and labels; all
are asked in turns for one timed step. See `rounds.py` for how ratios are taken and `worker.py` for
how memory is.
"""

import json
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.bench.contest import Result, Tell, run_contestants
from spikedriven.bench.contestants import Contestant, Run, Task
from spikedriven.bench.eager import released_neurons, spikingjelly_neurons
from spikedriven.bench.subject import load_inputs, smooth_images
from spikedriven.errors import InputError
from spikedriven.models import SpikeDrivenModel
from spikedriven.training.amp import SLOWER, time_ratio
from spikedriven.training.compact import alphabets, compact_saved
from spikedriven.training.memory import keep_memory

#: What the others are divided by: the first of these that is measured.
REFERENCES = ("ours-bf16", "ours")


@dataclass(frozen=True)
class Step:
    """A training step to time. args: keywords of `create_model`, as (key, value) pairs."""

    model: str
    batch: int = 32
    args: tuple[tuple[str, Any], ...] = ()

    def build(self) -> SpikeDrivenModel:
        """The network in training mode, its weights drawn from a fixed seed."""
        torch.manual_seed(0)
        return cast(SpikeDrivenModel, sd.create_model(self.model, **dict(self.args))).train()


def write_subject(folder: Path, step: Step) -> None:
    """What every contestant's process reads: the network's name, images and labels."""
    model = step.build()
    images = smooth_images(model.example_input(step.batch))
    labels = torch.arange(step.batch) % model.num_classes
    folder.mkdir(parents=True)
    (folder / "step.json").write_text(json.dumps(asdict(step)))
    safetensors.torch.save_file(
        {"inputs": images, "outputs": labels.double()}, folder / "inputs.safetensors"
    )


def read_step(folder: Path) -> Step:
    fields = json.loads((folder / "step.json").read_text())
    args = tuple(
        (key, tuple(value) if isinstance(value, list) else value)
        for key, value in fields.pop("args")
    )
    return Step(**fields, args=args)


def _training(
    task: Task,
    amp: bool,
    saving: Callable[[nn.Module], AbstractContextManager[Any]] = lambda model: nullcontext(),
    neurons: Callable[[SpikeDrivenModel], None] = lambda model: None,
    channels_last: bool = False,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Run:
    """The function that takes images and does one step; it returns the loss [1]."""
    model = read_step(task.folder).build()
    neurons(model)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # torch's stubs know a device and a memory format only apart
    model = cast(SpikeDrivenModel, model.to(device=task.device, memory_format=layout))  # type: ignore[call-overload]
    called, labels = wrap(model), load_inputs(task.folder)[1].long().to(task.device)

    def step(images: Tensor) -> Tensor:
        model.zero_grad(set_to_none=True)
        with torch.autocast(task.device, torch.bfloat16, enabled=amp), saving(model):
            loss = F.cross_entropy(called(images).float(), labels)
        loss.backward()
        return loss.detach().view(1)

    return step


def _compact(model: nn.Module) -> AbstractContextManager[Any]:
    return compact_saved(alphabets(model))


def _recomputing(model: nn.Module) -> nn.Module:
    cast(SpikeDrivenModel, model).set_grad_checkpointing()
    return model


def _compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model))


def _ours(task: Task, **options: Any) -> Run:
    if task.device == "cpu":
        keep_memory()  # as `spikedriven train` does
    return _training(task, channels_last=True, **options)


_RELEASED = partial(_training, neurons=released_neurons)
_SPIKINGJELLY = partial(_training, neurons=spikingjelly_neurons)
_KEPT_AS_BITS = partial(_ours, saving=_compact)

CONTESTANTS: dict[str, Contestant] = {
    "ours-bf16": Contestant(
        "this package, bf16 autocast, channels last, spikes kept as bits",
        partial(_KEPT_AS_BITS, amp=True),
        amp="bf16",
    ),
    "ours": Contestant(
        "this package, fp32, channels last, spikes kept as bits", partial(_KEPT_AS_BITS, amp=False)
    ),
    "ours-recompute": Contestant(
        "ours-bf16 with activation checkpointing",
        partial(_KEPT_AS_BITS, amp=True, wrap=_recomputing),
        amp="bf16",
    ),
    "ours-compile": Contestant(
        "this package under torch.compile, bf16 autocast",
        partial(_ours, amp=True, wrap=_compiled),
        amp="bf16",
    ),
    "released": Contestant(
        "PyTorch fp32 with neurons as the releases run them", partial(_RELEASED, amp=False)
    ),
    "released-bf16": Contestant(
        "the same under bf16 autocast", partial(_RELEASED, amp=True), amp="bf16"
    ),
    "spikingjelly": Contestant(
        "fp32 with SpikingJelly's neurons",
        partial(_SPIKINGJELLY, amp=False),
        package="spikingjelly",
    ),
    "spikingjelly-bf16": Contestant(
        "the same under bf16 autocast",
        partial(_SPIKINGJELLY, amp=True),
        package="spikingjelly",
        amp="bf16",
    ),
}


def measure(
    folder: Path,
    step: Step,
    contestants: Mapping[str, Contestant],
    threads: int = 2,
    rounds: int = 5,
    tell: Tell = lambda _text: None,
    device: str = "cpu",
) -> list[Result]:
    """Results in the order of ``contestants``; ``slower`` is relative to `reference_of` them.
    folder: a new one, to write into.

    threads: for each contestant. device: "cpu" or "cuda". One that is not installed or fails has a
    row that says so.
    """
    if threads < 1 or rounds < 1 or step.batch < 1:
        raise InputError(
            f"found threads {threads}, rounds {rounds}, batch {step.batch}: at least 1 of each is "
            "needed"
        )
    write_subject(folder, step)
    task = Task(folder, threads, step.batch, device, tensors=True)
    return run_contestants(task, contestants, None, rounds, reference_of(contestants), tell)


def reference_of(names: Container[str]) -> str:
    """Which of these contestants the others are divided by; of others' alone, none."""
    return next((name for name in REFERENCES if name in names), REFERENCES[0])


def without_emulated(
    contestants: Mapping[str, Contestant], device: str
) -> tuple[dict[str, Contestant], str]:
    """Those whose type this machine is not slower in than in float32, and a sentence about the
    others, or "". They would take minutes and say nothing about a run that anybody wants.
    """
    ratios = {
        amp: time_ratio(amp, torch.device(device))
        for amp in sorted({c.amp for c in contestants.values()} - {"none"})
    }
    slow = {amp: ratio for amp, ratio in ratios.items() if ratio >= SLOWER}
    kept = {name: c for name, c in contestants.items() if c.amp not in slow}
    out = ", ".join(name for name, c in contestants.items() if c.amp in slow)
    told = "; ".join(f"{amp} takes {ratio:.1f} times as long" for amp, ratio in slow.items())
    sentence = f"left out, since this machine emulates their type ({told}): {out}. --only NAME asks"
    return kept, f"{sentence} for one" if out else ""
