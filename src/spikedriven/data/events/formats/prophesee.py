"""What the files of Prophesee's cameras have in common: their text header, and clocks of few bits.

Lines `% KEYWORD VALUE`, up to `% end` or to the first line that does not begin with `% `. Format:
Prophesee's RAW and DAT pages, https://docs.prophesee.ai/stable/data/file_formats/index.html.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from spikedriven.data.events.binary import EventFile

_GEOMETRY = re.compile(r"(\d+)\s*x\s*(\d+)")
#: Shown by `spikedriven events`.
_NOTED = (
    "camera_integrator_name",
    "plugin_name",
    "generation",
    "sensor_generation",
    "serial_number",
    "date",
)


@dataclass(frozen=True)
class Header:
    """Keywords in small letters and their values; of a keyword that is there twice the last one."""

    words: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """Of `format EVT3;height=720;width=1280` the part behind the name."""
        pairs = (part.partition("=") for part in self.words.get("format", "").split(";")[1:])
        return {name.strip().lower(): value.strip() for name, _equals, value in pairs}

    @property
    def size(self) -> tuple[int | None, int | None]:
        """(height, width) of the sensor, where the header says it."""
        found = {**self.words, **self.options}
        if found.get("height", "").isdigit() and found.get("width", "").isdigit():
            return int(found["height"]), int(found["width"])
        match = _GEOMETRY.search(found.get("geometry", ""))
        return (int(match[2]), int(match[1])) if match else (None, None)

    @property
    def notes(self) -> dict[str, str]:
        return {name: self.words[name] for name in _NOTED if name in self.words}


def read_header(file: EventFile) -> Header:
    """The header; the file stands behind it afterwards."""
    words: dict[str, str] = {}
    for line in file.header_lines(b"% "):
        name, _space, value = line[2:].decode("latin-1").strip().partition(" ")
        if name.lower() == "end":
            break
        words[name.lower()] = value.strip()
    return Header(words)


class WrappingClock:
    """A counter of `bits` bits that begins anew at its end: what it says becomes a number that goes
    on.

    It has begun anew where it goes back by at least half of its range; a smaller step back is one
    in the file.
    """

    def __init__(self, bits: int) -> None:
        self.range, self.turns = 1 << bits, 0
        self.last: int | None = None

    def unwrap(self, values: np.ndarray) -> np.ndarray:
        """int64 [N] of the counter's next N values."""
        if not len(values):
            return values
        before = np.concatenate([[values[0] if self.last is None else self.last], values[:-1]])
        turned = np.cumsum(before - values >= self.range // 2)
        result = values + (self.turns + turned) * self.range
        self.turns, self.last = self.turns + int(turned[-1]), int(values[-1])
        return result
