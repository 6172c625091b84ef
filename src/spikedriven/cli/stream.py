"""Classify a recording of an event camera while reading it: a prediction after every step, in constant memory.

Example:

    spikedriven stream runs/gesture recording.aedat --step-us 50000      (a step every 50 ms)
    spikedriven stream runs/gesture recording.npz --events-per-step 5000 --json
    spikedriven stream runs/gesture clip.npz --whole                     (as one clip in training; reads the file twice)

FILE is AEDAT 2.0, AEDAT 3.1 or .npz (arrays t in microseconds, x, y, p). Neurons keep their membranes from step to
step, as in training; a prediction is the mean over the steps so far, which equals what the network says about all of
them at once. --restart T begins anew after T steps: for recordings in which one thing follows another.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.data import EventDataConfig, create_event_dataset, data_folder, find_any_set
from spikedriven.data.events.events import Events
from spikedriven.data.events.fashion_events import clip_time
from spikedriven.data.events.files import stream_events
from spikedriven.data.events.registry import find_event_set
from spikedriven.data.events.stream import Frame, frames_by_number, frames_by_time
from spikedriven.data.events.transforms import resize
from spikedriven.errors import DataError, InputError
from spikedriven.tasks.streaming import Prediction, predict_stream
from spikedriven.training.target import LabelledTarget, data_config, load_target


@dataclass(frozen=True, kw_only=True)
class Arguments(LabelledTarget):
    file: Annotated[Path, tyro.conf.Positional]
    """The recording."""
    step_us: int | None = None
    """Microseconds of a step. Default: what the run was trained with, if that was fixed."""
    events_per_step: int | None = None
    """Events of a step."""
    whole: bool = False
    """Frames as in training, which depend on the whole recording: reads the file twice."""
    restart: int | None = None
    """Put all neurons back to rest after so many steps. Default: never."""
    height: int | None = None
    """Rows of the sensor, where the file does not say."""
    width: int | None = None
    """Columns of the sensor, where the file does not say."""
    data: str | None = None
    """Of a model name: the event set that its weights were trained on."""
    labels: Path | None = None
    """Names of the classes, one a line. Default: those of the data set if it is here, else numbers."""
    json: bool = False
    """Print a JSON object a line instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, predict, print as it goes."""
    arguments = parse(Arguments, argv, "stream", __doc__)
    model, data = _load(arguments)
    names = _names(arguments, data, model.num_classes)
    last = None
    for last in predict_stream(model, _frames(arguments, data), _Prepare(data), arguments.restart):
        _print(last, names, arguments.json)
    if last is None:
        raise DataError(f"{arguments.file}: not enough events for one step")
    return 0


def _load(arguments: Arguments) -> tuple[Any, EventDataConfig]:
    """The network, in evaluation mode, and how its frames were made."""
    if arguments.restart is not None and arguments.restart < 1:
        raise InputError(f"--restart: expected at least 1, found {arguments.restart}")
    loaded = load_target(arguments)
    named = loaded.data is not None or arguments.data is not None or loaded.file is not None
    if not loaded.trained or not named:
        raise InputError(
            f"{arguments.target} is a model name: it needs --checkpoint FILE and --data NAME"
        )
    data = data_config(loaded, arguments, arguments.data or "", None)
    if not isinstance(data, EventDataConfig) or not hasattr(loaded.model, "step"):
        raise InputError(
            f"{arguments.target} was made for {data.dataset}, not for events; a stream needs a spiking network that "
            "was trained on an event set"
        )
    if find_event_set(data.dataset).pictures:
        raise InputError(
            f"{arguments.target} was trained on {data.dataset}: pictures of events, cropped and cut into two by their "
            "grey values. No stream of events gives such frames, so an answer would mean nothing; evaluate on the "
            "set's own pictures with `spikedriven eval`"
        )
    return loaded.model, data


def _frames(arguments: Arguments, data: EventDataConfig) -> Iterator[Frame]:
    step_us, number = arguments.step_us, arguments.events_per_step
    if sum((step_us is not None, number is not None, arguments.whole)) > 1:
        raise InputError("give one of --step-us, --events-per-step and --whole")
    if arguments.whole:
        return _whole(arguments, data)
    if number is not None:
        return frames_by_number(_events(arguments), itertools.repeat(number))
    start, usual = clip_time(data)
    step_us = usual if step_us is None else step_us
    if step_us is None:
        raise InputError(
            f"{arguments.target} was trained on {data.time_steps} steps of equal {_SHARED[data.split_by]}: how much "
            "that is, only the end of a recording tells. Give --step-us U or --events-per-step N, close to what a "
            "training step held; or --whole, which reads the file twice"
        )
    return frames_by_time(_events(arguments), step_us, start)


_SHARED = {"number": "numbers of events", "time": "time"}


def _events(arguments: Arguments) -> Iterator[Events]:
    return stream_events(arguments.file, height=arguments.height, width=arguments.width)


def _whole(arguments: Arguments, data: EventDataConfig) -> Iterator[Frame]:
    """Frames of a whole recording as one clip of T steps: those of `framing.to_frames`."""
    steps, number, first, last = data.time_steps, 0, None, 0
    for part in _events(arguments):
        if len(part):
            number, first, last = (
                number + len(part),
                int(part.t[0]) if first is None else first,
                int(part.t[-1]),
            )
    if number < steps or first is None:
        raise DataError(f"{arguments.file}: {number} events, too few for {steps} steps")
    if data.split_by == "number":
        each = number // steps
        return frames_by_number(
            _events(arguments), [each] * (steps - 1) + [number - each * (steps - 1)]
        )
    start, step_us = clip_time(data)
    if step_us is not None:
        return frames_by_time(_events(arguments), step_us, start, steps)
    return frames_by_time(
        _events(arguments), max((last - first) // steps, 1), first, steps, keep_rest=True
    )


class _Prepare:
    """Counts [1, 2, H, W] -> frames as in training."""

    def __init__(self, data: EventDataConfig) -> None:
        self.data = data

    def __call__(self, counts: Tensor) -> Tensor:
        return resize(counts.clamp(max=1) if self.data.values == "binary" else counts, self.data)


def _names(arguments: Arguments, data: EventDataConfig, num_classes: int) -> list[str]:
    if arguments.labels is not None:
        try:
            names = arguments.labels.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{arguments.labels} cannot be read as text: {error}") from error
        names = [name.strip() for name in names if name.strip()]
    elif find_any_set(data.dataset).locate(data_folder(data.root)) is not None:
        names = list(create_event_dataset(data, "test").classes)
    else:
        names = [str(number) for number in range(num_classes)]
    if len(names) != num_classes:
        raise InputError(
            f"{len(names)} names of classes for a network that tells {num_classes} apart"
        )
    return names


def _print(prediction: Prediction, names: list[str], as_json: bool) -> None:
    shares = torch.softmax(prediction.logits.double(), 0)
    best = int(shares.argmax())
    share = float(shares[best])
    if not as_json:
        print(
            f"{prediction.step:>7} {prediction.end_us / 1e6:12.3f} s {prediction.events:>9} events   "
            f"{names[best]} {share:.2f}",
            flush=True,
        )
        return
    record: dict[str, Any] = {
        "step": prediction.step,
        "end_us": prediction.end_us,
        "events": prediction.events,
    }
    record |= {
        "label": names[best],
        "class": best,
        "share": share,
        "logits": prediction.logits.tolist(),
    }
    print(json.dumps(record), flush=True)
