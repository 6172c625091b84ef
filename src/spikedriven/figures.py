"""Figures from plain values. Nothing here knows a network; `plot` and the reports fetch the values.

matplotlib is imported when a figure is drawn: a report that is only printed does without it.
"""

import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: Blue, orange, green, grey; two lighter ones. They differ in brightness too.
COLOURS = ("#1f5fa8", "#c96a1b", "#2f8f5b", "#8a8f98", "#8fbbe8", "#e8bd8f")
#: Of energies, in picojoule.
UNITS = (("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3), ("pJ", 1.0))
#: Longer names lose their middle.
NAME = 34
#: From this many bars on, not each is named.
NAMED = 60


def drawing(width: float, height: float) -> Any:
    """An empty figure of so many inches, which notebooks show and ``savefig(path)`` writes."""
    figure = importlib.import_module("matplotlib.figure")
    canvas = importlib.import_module("matplotlib.backends.backend_agg")

    class Drawing(figure.Figure):  # type: ignore[misc,name-defined]
        """A figure of its own: no pyplot, no window, nothing to close."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    made = Drawing(figsize=(width, height), dpi=110, layout="constrained")
    canvas.FigureCanvasAgg(made)
    return made


def short(name: str) -> str:
    """A name that fits beside a bar."""
    return name if len(name) <= NAME else f"{name[: NAME // 2 - 1]}…{name[-NAME // 2 :]}"


def unit_of(picojoule: float) -> tuple[str, float]:
    """The largest unit in which an energy is at least 1, and how many picojoule it is."""
    return next((unit for unit in UNITS if picojoule >= unit[1]), UNITS[-1])


def between(low: str, high: str, share: float) -> str:
    """The colour so far on the way from one "#rrggbb" to another."""
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (low, high)]
    mixed = [round(a + share * (b - a)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def bars(
    names: Sequence[str], parts: Mapping[str, Sequence[float]], label: str, title: str = ""
) -> Any:
    """Horizontal bars, one a name from top to bottom, stacked of the parts. label: of the axis."""
    figure = drawing(8.0, 1.6 + 0.2 * len(names))
    axis = figure.add_subplot()
    left = np.zeros(len(names))
    for (part, values), colour in zip(parts.items(), COLOURS, strict=False):
        axis.barh(range(len(names)), values, left=left, color=colour, label=part)
        left = left + np.asarray(values, dtype=float)
    axis.set_yticks(
        range(len(names)), [short(name) for name in names], fontsize=7, parse_math=False
    )
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel(label)
    if len(parts) > 1:
        figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=len(parts))
    return _finished(figure, axis, title)


def waterfall(
    names: Sequence[str], picojoule: Sequence[float], totals: Mapping[str, float], title: str = ""
) -> Any:
    """How the energy of a network adds up, layer by layer, and totals of others beside it.

    picojoule: of each layer, in the order in which they run. totals: other networks, picojoule.
    """
    unit, size = unit_of(max([sum(picojoule), *totals.values()]))
    count = len(names)
    figure = drawing(min(max(7.0, 3.0 + 0.16 * count), 24.0), 4.8)
    axis = figure.add_subplot()
    values = np.asarray(picojoule, dtype=float) / size
    ends = np.cumsum(values)
    axis.bar(range(count), values, bottom=ends - values, color=COLOURS[0])
    others = {"this network": float(ends[-1]) if count else 0.0} | {
        k: v / size for k, v in totals.items()
    }
    wide = max(1.0, count / 14)
    places = count + wide * (1 + np.arange(len(others)))
    axis.bar(
        places,
        list(others.values()),
        width=0.8 * wide,
        color=[COLOURS[0], *[COLOURS[1]] * len(totals)],
    )
    for place, value in zip(places, others.values(), strict=True):
        axis.annotate(f"{value:.3g}", (place, value), ha="center", va="bottom", fontsize=8)
    every = -(-count // NAMED) or 1
    ticks = [*range(0, count, every), *places]
    texts = [*[short(name) for name in names][::every], *others]
    axis.set_xticks(ticks, texts, rotation=90, fontsize=6.5, parse_math=False)
    axis.set_xlim(-0.8, places[-1] + wide)
    axis.set_ylabel(f"{unit} per image")
    return _finished(figure, axis, title)


def heat(names: Sequence[str], values: ArrayLike, label: str, title: str = "") -> Any:
    """Rows of a table [names, T] as colours with their numbers; nan is left white. label: of
    the colours.
    """
    table = np.ma.masked_invalid(np.asarray(values, dtype=float))
    rows, steps = table.shape
    figure = drawing(3.6 + 0.55 * steps, 1.4 + 0.21 * rows)
    axis = figure.add_subplot()
    shown = axis.imshow(table, cmap="viridis", aspect="auto", vmin=0.0)
    axis.set_yticks(range(rows), [short(name) for name in names], fontsize=7, parse_math=False)
    axis.set_xticks(range(steps), [str(i + 1) for i in range(steps)], fontsize=8)
    axis.set_xlabel("time step")
    middle = 0.6 * float(table.max()) if table.count() else 0.0
    for i, j in zip(*np.nonzero(~np.ma.getmaskarray(table)), strict=True):
        colour = "black" if table[i, j] > middle else "white"
        axis.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(shown, label=label, fraction=0.05)
    return _finished(figure, axis, title)


def raster(spikes: ArrayLike, title: str = "") -> Any:
    """A dot where a neuron fired: whole numbers [T, N] -> time steps from left to right, neurons
    from bottom to top. A count of more than one is a larger dot.
    """
    counts = np.asarray(spikes)
    step, neuron = np.nonzero(counts)
    figure = drawing(2.4 + 0.45 * min(len(counts), 24), 4.6)
    axis = figure.add_subplot()
    sizes = 4.0 * counts[step, neuron].astype(float)
    axis.scatter(step + 1, neuron, s=sizes, color=COLOURS[0], linewidths=0)
    axis.set_xlim(0.4, len(counts) + 0.6)
    axis.set_ylim(-1, counts.shape[1])
    axis.set_xticks(range(1, len(counts) + 1, max(1, len(counts) // 16)))
    axis.set_xlabel("time step")
    axis.set_ylabel("neuron")
    return _finished(figure, axis, title)


def grid(
    rows: Sequence[tuple[str, Sequence[ArrayLike]]], columns: Sequence[str], title: str = ""
) -> Any:
    """Pictures [H, W, 3] in rows with a name each, and a title over each column."""
    width = max(len(pictures) for _, pictures in rows)
    figure = drawing(1.7 + 1.45 * width, 0.7 + 1.5 * len(rows))
    axes = figure.subplots(len(rows), width, squeeze=False)
    for (name, pictures), line in zip(rows, axes, strict=True):
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(np.asarray(picture), interpolation="nearest")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8, parse_math=False)
    for axis, column in zip(axes[0], columns, strict=False):
        axis.set_title(column, fontsize=8)
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure


def boxes(
    texts: Sequence[tuple[str, str]],
    edges: Sequence[tuple[int, int]],
    colours: Sequence[str],
    title: str = "",
    legend: Mapping[str, str] | None = None,
) -> Any:
    """Boxes from top to bottom with arrows between them; an arrow over other boxes goes around
    them.

    texts: (name, what it holds) of each box. edges: from box to box. colours: of the boxes.
    """
    figure = drawing(7.4, 0.9 + 0.5 * len(texts))
    axis = figure.add_subplot()
    axis.set(xlim=(-1.3, 10.0), ylim=(len(texts) - 0.3, -0.7))
    axis.set_axis_off()
    for i, ((name, inside), colour) in enumerate(zip(texts, colours, strict=True)):
        style = {"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "#555555"}
        axis.text(0.4, i, f"{short(name)}", fontsize=8, va="center", bbox=style, parse_math=False)
        axis.text(3.9, i, inside, fontsize=7.5, va="center", color="#333333", parse_math=False)
    for begin, end in edges:
        _arrow(axis, begin, end)
    for name, colour in (legend or {}).items():
        axis.scatter([], [], marker="s", s=60, color=colour, edgecolors="#555555", label=name)
    if legend:
        axis.legend(loc="lower right", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure


def _arrow(axis: Any, begin: int, end: int) -> None:
    if end == begin + 1:
        shape = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.9}
        axis.annotate("", (0.8, end - 0.28), (0.8, begin + 0.28), arrowprops=shape)
        return
    bend = min(0.45, 1.4 / (end - begin))  # a long arrow stays inside the figure
    around = {
        "arrowstyle": "-|>",
        "color": COLOURS[0],
        "linewidth": 0.9,
        "connectionstyle": f"arc3,rad={bend:.2f}",
    }
    axis.annotate("", (0.3, end), (0.3, begin), arrowprops=around)


def _finished(figure: Any, axis: Any, title: str) -> Any:
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9, parse_math=False)
    return figure
