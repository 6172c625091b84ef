"""Show what is in a recording of an event camera and what is wrong with it; draw it, convert it.

Example:

    spikedriven events recording.raw
    spikedriven events recording.aedat4 --draw recording.html    # or .png, .gif
    spikedriven events events.csv --columns t,x,y,p --height 180 --width 240 --out recording.npz
    spikedriven events damaged.dat --out mended.npz --repair

FILE is AEDAT 2.0, 3.1 or 4, Prophesee RAW or DAT, HDF5, Event Stream, .npz, N-MNIST .bin or text;
or - for the standard input, for which only figures are printed. Listed are pixels off the sensor,
times that go back, pauses, repeated events, hot pixels, and times that look like another unit. The
exit status is 1 if other commands would refuse the file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from spikedriven.cli.listing import print_table
from spikedriven.data.events import Events, read_events, save_events
from spikedriven.data.events.binary import STDIN, is_read_once
from spikedriven.data.events.files import Told, open_recording
from spikedriven.data.events.raw import joined, mended
from spikedriven.data.events.survey import Survey, survey
from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.report.recording import animation, facts, frames, page, picture_file

_DRAWN = (".html", ".png", ".gif")


@dataclass(frozen=True, kw_only=True)
class Arguments(Told):
    file: Annotated[Path, tyro.conf.Positional]
    """The recording."""
    out: Path | None = None
    """Write it as .npz: arrays t, x, y, p, height and width."""
    repair: bool = False
    """With --out: leave out events off the sensor, and sort by time; says how many."""
    draw: Path | None = None
    """Draw it: .html has everything, .png all events and their rate, .gif the animation."""
    json: bool = False
    """Print the figures as JSON."""


def run(argv: list[str]) -> int:
    """Parse `argv`, survey, draw, convert; returns 0, or 1 for a recording that readers refuse."""
    arguments = tyro.cli(Arguments, args=argv, prog="spikedriven events", description=__doc__)
    _check(arguments)
    with open_recording(arguments.file, told=arguments) as source:
        found = survey(source.with_sensor(arguments.height, arguments.width))
    converted = _converted(
        arguments
    )  # first: it may refuse the sensor, and then nothing is written
    done = [*_drawn(arguments, found), *converted]
    if arguments.json:
        print(json.dumps(_record(found)))
    else:
        _print(found)
        for line in done:
            print(line)
    return int(found.refused)


def _check(arguments: Arguments) -> None:
    if arguments.repair and arguments.out is None:
        raise InputError("--repair changes what is written: name the file with --out")
    if arguments.out is not None and arguments.out.suffix != ".npz":
        raise InputError(f"--out {arguments.out}: expected a file that ends with .npz")
    if arguments.draw is not None and arguments.draw.suffix not in _DRAWN:
        raise InputError(
            f"--draw {arguments.draw}: expected a file that ends with {', '.join(_DRAWN)}"
        )
    if (arguments.out or arguments.draw) and is_read_once(arguments.file):
        where = "the standard input" if str(arguments.file) == STDIN else str(arguments.file)
        raise InputError(f"{where} can be read only once: save it to a file to draw or convert it")


def _drawn(arguments: Arguments, found: Survey) -> list[str]:
    path = arguments.draw
    if path is None or not found.events:
        return []
    if path.suffix == ".png":
        content = picture_file(found)
    else:
        with open_recording(arguments.file, told=arguments) as source:
            pictures = frames(source, found)
        content = animation(pictures) if path.suffix == ".gif" else page(found, pictures).encode()
    write_whole(path, content, "--draw")
    return [f"drawn in {path}"]


def _converted(arguments: Arguments) -> list[str]:
    if arguments.out is None:
        return []
    events, said = (
        _mended(arguments)
        if arguments.repair
        else (read_events(arguments.file, told=arguments), "")
    )
    save_events(arguments.out, events)
    return [f"{len(events):,} events written to {arguments.out}{said}"]


def _mended(arguments: Arguments) -> tuple[Events, str]:
    with open_recording(arguments.file, 1 << 20, arguments) as source:
        sized = source.sized(arguments.height, arguments.width)
        events, outside, moved = mended(sized, joined(list(sized.parts)))
    return (
        events,
        f"; {outside:,} off the sensor were left out, {moved:,} moved to an earlier place",
    )


def _record(found: Survey) -> dict[str, Any]:
    return {
        "file": str(found.path),
        "format": found.format,
        "height": found.height,
        "width": found.width,
        "sensor_told": found.sensor_told,
        "events": found.events,
        "on": found.on,
        "start_us": found.start_us,
        "stop_us": found.stop_us,
        "events_per_second": found.per_second,
        "notes": found.notes,
        "problems": [asdict(problem) for problem in found.problems],
        "refused": found.refused,
    }


def _print(found: Survey) -> None:
    console = Console()
    shown = Table(title=str(found.path), show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in {**facts(found), **found.notes}.items():
        shown.add_row(name, value)
    print_table(shown)
    for problem in found.problems:
        mark = "refused" if problem.refused else "note"
        console.print(f"{mark}: {problem.text}", markup=False, highlight=False, soft_wrap=True)
    if not found.problems:
        console.print("nothing was found that is wrong with it")
