"""Line charts as inline SVG: a title and a description for screen readers, colours from the
page's style sheet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spikedriven.report.html import Html, join, tag

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 34, 38


@dataclass(frozen=True)
class Series:
    """points: (x, y) in order of x; points whose y is not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]

    def finite(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points if math.isfinite(y)]


@dataclass(frozen=True)
class _Axis:
    """Maps values between the outermost ticks to pixels from `begin` to `end`."""

    ticks: list[float]
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)


def line_chart(
    identifier: str,
    title: str,
    x_label: str,
    series: Sequence[Series],
    shows: Sequence[float] = (),
    said: str = "The figures are in the table that follows.",
) -> Html:
    """Up to four series over one x axis. identifier: unique in the page. shows: values that the y
    axis reaches besides. said: the end of the description.
    """
    points = [point for one in series for point in one.finite()]
    if not points:
        return tag("p", f"{title}: no finite value was recorded.")
    x = _Axis(ticks([p[0] for p in points], 4), LEFT, WIDTH - RIGHT)
    y = _Axis(ticks([*shows, *(p[1] for p in points)], 5), HEIGHT - BOTTOM, TOP)
    names = f"{identifier}-title {identifier}-desc"
    return tag(
        "svg",
        tag("title", title, id=f"{identifier}-title"),
        tag("desc", f"{_describe(series, x_label)}. {said}", id=f"{identifier}-desc"),
        _grid(x, y, x_label),
        join(_line(one, i, x, y) for i, one in enumerate(series)),
        _legend(series),
        viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_labelledby=names, class_="chart",
    )  # fmt: skip


def ticks(values: Sequence[float], about: int) -> list[float]:
    """Round numbers, evenly spaced, that enclose all values; at least two."""
    low, high = min(values), max(values)
    if high == low:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _describe(series: Sequence[Series], x_label: str) -> str:
    parts = []
    for one in series:
        points = one.finite()
        if points:
            (x0, y0), (x1, y1) = points[0], points[-1]
            parts.append(f"{one.name}: {y0:.4g} at {x_label} {x0:g}, {y1:.4g} at {x_label} {x1:g}")
    return "; ".join(parts)


def _grid(x: _Axis, y: _Axis, x_label: str) -> Html:
    lines = []
    for value in y.ticks:
        lines.append(
            tag(
                "line",
                x1=LEFT,
                x2=WIDTH - RIGHT,
                y1=f"{y(value):.1f}",
                y2=f"{y(value):.1f}",
                class_="grid",
            )
        )
        lines.append(
            tag("text", f"{value:.4g}", x=LEFT - 6, y=f"{y(value) + 4:.1f}", text_anchor="end")
        )
    for value in x.ticks:
        lines.append(
            tag(
                "text",
                f"{value:g}",
                x=f"{x(value):.1f}",
                y=HEIGHT - BOTTOM + 16,
                text_anchor="middle",
            )
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return join(
        [*lines, tag("text", x_label, x=middle, y=HEIGHT - 5, text_anchor="middle", class_="label")]
    )


def _line(one: Series, index: int, x: _Axis, y: _Axis) -> Html:
    pixels = [f"{x(a):.1f},{y(b):.1f}" for a, b in one.finite()]
    line = tag("polyline", points=" ".join(pixels), class_=f"series-{index}")
    if len(pixels) > 30:
        return line
    dots = (p.split(",") for p in pixels)
    return join(
        [line, *(tag("circle", cx=a, cy=b, r=3, class_=f"series-{index}") for a, b in dots)]
    )


def _legend(series: Sequence[Series]) -> Html:
    marks = []
    place = LEFT
    for i, one in enumerate(series):
        marks.append(tag("line", x1=place, x2=place + 16, y1=14, y2=14, class_=f"series-{i}"))
        marks.append(tag("text", one.name, x=place + 21, y=18))
        place += 34 + round(6.2 * len(one.name))
    return join(marks)
