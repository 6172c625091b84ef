"""Classify a recording of an event camera while reading it: a prediction after every step, in
constant memory.

Example:

    spikedriven stream runs/gesture recording.aedat --step-us 50000    # a step every 50 ms
    spikedriven stream runs/gesture recording.npz --events-per-step 5000 --json
    spikedriven stream runs/gesture clip.npz --whole    # as a clip in training; reads it twice
    camera | spikedriven stream runs/gesture - --step-us 50000         # from a pipe
    spikedriven stream runs/gesture growing.raw --step-us 50000 --follow 5    # until 5 s of quiet

AEDAT 2.0 and 3.1, RAW, DAT, .bin and text can come from a pipe, or be followed while they grow.
Neurons keep their membranes from step to step, as in training. A prediction is the mean over the
steps so far, which equals the output of the network for all of these steps at once. --restart T
resets the neurons after every T steps: use it where one gesture follows another, and for recordings
longer than those of the training. The last line says how much of the recording was used.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from spikedriven.cli.arguments import parse
from spikedriven.cli.recordings import check_events
from spikedriven.data import FramedEventConfig, create_dataset, data_folder
from spikedriven.data.events import Told
from spikedriven.data.events.binary import is_read_once
from spikedriven.data.events.dataset import EQUAL
from spikedriven.data.events.events import Events
from spikedriven.data.events.files import stream_events
from spikedriven.data.events.stream import Frame, frames_by_number, frames_by_time
from spikedriven.data.events.transforms import resize
from spikedriven.errors import DataError, InputError
from spikedriven.models.names import class_names
from spikedriven.runs.target import LabelledTarget, data_config, load_target
from spikedriven.tasks.streaming import Prediction, Usage, predict_stream


@dataclass(frozen=True, kw_only=True)
class Arguments(LabelledTarget):
    file: Annotated[Path, tyro.conf.Positional]
    """The recording; - for the standard input."""
    step_us: int | None = None
    """Length of a step in microseconds. Default: that of the training, if it was fixed."""
    events_per_step: int | None = None
    """Number of events in a step."""
    whole: bool = False
    """Frames as in training, which depend on the whole recording: reads the file twice."""
    restart: int | None = None
    """Reset all neurons after this many steps. Default: never."""
    height: int | None = None
    """Rows of the sensor, where the file does not say."""
    width: int | None = None
    """Columns of the sensor, where the file does not say."""
    columns: str | None = None
    """Of a text: which number of a line is what, as in t,x,y,p; _ passes one over."""
    time_unit: str | None = None
    """Of the times of a text: us, ms, s or ns."""
    follow: float | None = None
    """Wait for more at the end of a file that is still written, until nothing has come for so
    many seconds.
    """
    data: str | None = None
    """Of a model name: the event set that its weights were trained on."""
    labels: Path | None = None
    """Names of the classes, one a line. Default: those of the data set if it is here, else
    numbers.
    """
    json: bool = False
    """Print a JSON object a line instead of text."""


def run(argv: list[str]) -> int:
    """Parse `argv`, predict, print as it goes."""
    arguments = parse(Arguments, argv, "stream", __doc__)
    model, data = _load(arguments)
    names, used = _names(arguments, data, model), Usage(data.time_steps, arguments.restart)
    for prediction in predict_stream(
        model, _frames(arguments, data, used), _Prepare(data), arguments.restart
    ):
        _print(prediction, names, arguments.json)
        _say(used.add(prediction))
    if not used.steps:
        raise DataError(f"{arguments.file}: not enough events for one step")
    _say(f"{arguments.file}: {used}")
    return 0


def _say(text: str) -> None:
    """To people, beside the predictions."""
    if text:
        print(text, file=sys.stderr, flush=True)


def _load(arguments: Arguments) -> tuple[Any, FramedEventConfig]:
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
    framed = check_events(arguments.target, data, "a stream")
    if not hasattr(loaded.model, "step"):
        raise InputError(
            f"{arguments.target} cannot go on step by step; a stream needs a spiking network that "
            "does"
        )
    return loaded.model, framed


def _frames(arguments: Arguments, data: FramedEventConfig, used: Usage) -> Iterator[Frame]:
    step_us, number = arguments.step_us, arguments.events_per_step
    if sum((step_us is not None, number is not None, arguments.whole)) > 1:
        raise InputError("give one of --step-us, --events-per-step and --whole")
    if arguments.whole:
        return _whole(arguments, data, used)
    if number is not None:
        return frames_by_number(used.counted(_events(arguments)), itertools.repeat(number))
    start, usual = data.clip_time()
    step_us = usual if step_us is None else step_us
    if step_us is None:
        raise InputError(
            f"{arguments.target} was trained on {data.time_steps} steps of equal "
            f"{EQUAL[data.split_by]}: how much "
            "that is, only the end of a recording tells. Give --step-us U or --events-per-step N, "
            "close to what a "
            "training step held; or --whole, which reads the file twice"
        )
    return frames_by_time(used.counted(_events(arguments)), step_us, start)


def _events(arguments: Arguments) -> Iterator[Events]:
    told = Told(
        height=arguments.height,
        width=arguments.width,
        columns=arguments.columns,
        time_unit=arguments.time_unit,
        follow=arguments.follow,
    )
    return stream_events(arguments.file, told=told)


def _whole(arguments: Arguments, data: FramedEventConfig, used: Usage) -> Iterator[Frame]:
    """Frames of a whole recording as one clip of T steps: those of `framing.to_frames`."""
    if arguments.follow is not None or is_read_once(arguments.file):
        raise InputError(f"--whole reads a finished file twice; {arguments.file} can be read once")
    steps = data.time_steps
    for _part in used.counted(_events(arguments)):
        pass
    number, first, last = used.total, used.first, used.last
    if number < steps or first is None:
        raise DataError(f"{arguments.file}: {number} events, too few for {steps} steps")
    if data.split_by == "number":
        each = number // steps
        return frames_by_number(
            _events(arguments), [each] * (steps - 1) + [number - each * (steps - 1)]
        )
    start, step_us = data.clip_time()
    if step_us is not None:
        return frames_by_time(_events(arguments), step_us, start, steps)
    return frames_by_time(
        _events(arguments), max((last - first) // steps, 1), first, steps, keep_rest=True
    )


class _Prepare:
    """Counts [1, 2, H, W] -> frames as in training."""

    def __init__(self, data: FramedEventConfig) -> None:
        self.data = data

    def __call__(self, counts: Tensor) -> Tensor:
        return resize(counts.clamp(max=1) if self.data.values == "binary" else counts, self.data)


def _names(arguments: Arguments, data: FramedEventConfig, model: Any) -> list[str]:
    num_classes = model.num_classes
    if arguments.labels is not None:
        try:
            names = arguments.labels.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{arguments.labels} cannot be read as text: {error}") from error
        names = [name.strip() for name in names if name.strip()]
    elif class_names(model):
        names = list(class_names(model))
    elif data.entry.locate(data_folder(data.root)) is not None:
        names = list(create_dataset(data, "test").classes)
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
            f"{prediction.step:>7} {prediction.end_us / 1e6:12.3f} s {prediction.events:>9} events "
            "  "
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
