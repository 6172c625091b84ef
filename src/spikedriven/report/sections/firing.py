"""Firing rates of neurons per time step, and the maps of attention blocks."""

import shlex

import matplotlib
import numpy as np

from spikedriven.graph.layer_firing import LayerFiring
from spikedriven.report.attention import FiringMap
from spikedriven.report.findings import Findings, Sample
from spikedriven.report.html import Cell, Html, heat, join, section, table, tag
from spikedriven.report.images import COLOURS, img, overlay
from spikedriven.report.sections.accuracy import pixels

#: CSS pixels of one map.
SIDE = 84


def firing(found: Findings) -> Html:
    layers = found.firing.values()
    if not layers:
        return section(
            "firing", "Firing rates", tag("p", "None: the network has no neuron of this package.")
        )
    steps = max(len(layer.spikes) for layer in layers)
    largest = max(float(layer.spikes.max()) for layer in layers)
    header = (
        "neuron",
        *(f"step {i + 1}" for i in range(steps)),
        "mean",
        "fire in an image",
        "never fire",
    )
    heat_map = table(
        "Spikes per neuron and time step",
        header,
        [_row(layer, steps, largest) for layer in layers],
        class_="matrix",
    )
    return section(
        "firing", "Firing rates", tag("p", _explained(found, largest)), _extremes(found), heat_map
    )


def _row(layer: LayerFiring, steps: int, largest: float) -> tuple[object, ...]:
    mean = float(layer.spikes.mean())
    cells = [heat(value, largest, f"{value:.3f}") for value in layer.spikes.tolist()]
    never = "–" if layer.never_fires is None else f"{layer.never_fires:.1%}"
    shares = (f"{layer.fires_in_an_image:.1%}", never)
    return (
        layer.name,
        *cells,
        *([""] * (steps - len(cells))),
        heat(mean, largest, f"{mean:.3f}"),
        *shares,
    )


def _explained(found: Findings, largest: float) -> str:
    what = "samples of noise" if found.subject.noise is not None else _examples(found)
    return (
        f"Spikes of every layer of neurons per neuron and time step, mean over {found.images} "
        f"{what}; the stronger the "
        f"cell's colour, the more, up to {largest:.3f}. {_integers(found)} Fire in an image: the "
        "share of neurons with "
        f"a spike at any step, mean over the {what}. Never fire: the share of neurons without a "
        "spike in all of them. "
        "A neuron is one channel at one position."
    )


def _examples(found: Findings) -> str:
    """A network of the caller's own may read something else than images."""
    return "images" if found.subject.given is None else "examples"


def _integers(found: Findings) -> str:
    levels = max(layer.levels for layer in found.firing.values())
    if levels == 1:
        return "A neuron has at most one spike a step, so this is its firing rate."
    return f"Integer neurons have up to {levels} spikes a step: their count."


def _extremes(found: Findings) -> Html:
    """Layers that say nothing about the input."""
    layers = found.firing.values()
    dead = [layer.name for layer in layers if layer.dead]
    saturated = [layer.name for layer in layers if layer.saturated]
    told = (
        ("No neuron of these layers fired", dead),
        ("All neurons of these layers fired always", saturated),
    )
    return join(
        tag("p", tag("strong", "Note. "), f"{what}: {', '.join(names)}.", class_="warning")
        for what, names in told
        if names
    )


def attention(found: Findings) -> Html:
    if not found.maps:
        return section("attention", "Attention maps", tag("p", _why_none(found)))
    text = (
        "Firing rate of each position, averaged over channels, over the image: of the value V, and "
        "of what attention "
        "leaves of it (Spike-driven Transformer, NeurIPS 2023, figure 3). Each row has its own "
        "scale, from 0 to the "
        "rate in its last column; where nothing fires, the image stays grey."
    )
    return section(
        "attention",
        "Attention maps",
        tag("p", text),
        _legend(),
        join(_maps(found, s, maps) for s, maps in found.maps),
    )


def _why_none(found: Findings) -> str:
    if found.subject.noise is not None:
        return (
            "None: rates were measured on noise. Name a data set with --data, or use the command "
            f"spikedriven attention {shlex.quote(str(found.subject.request.target))} IMAGE."
        )
    if found.dense is not None:
        return (
            "None: the page shows maps of classifiers. See spikedriven attention for a picture of "
            "yours."
        )
    return "None: this network has no attention block of this package, or no maps were asked for."


def _legend() -> Html:
    stops = (matplotlib.colormaps[COLOURS](i / 8)[:3] for i in range(9))
    colours = ", ".join("#" + "".join(f"{round(255 * c):02x}" for c in stop) for stop in stops)
    ramp = tag(
        "span",
        class_="ramp",
        style=f"background: linear-gradient(to right, {colours})",
        aria_hidden="true",
    )
    return tag("p", "silent ", ramp, " highest rate of the row", class_="legend")


def _maps(found: Findings, sample: Sample, maps: list[FiringMap]) -> Html:
    image = pixels(found, sample)
    label, predicted = found.classes[sample.label], found.classes[sample.predicted]
    said = f", taken for {predicted}" if found.subject.trained else ""
    steps = max(len(one.rates) for one in maps)
    rows = []
    for one in maps:
        largest = float(one.rates.max())
        cells = [_map(image, one, step, largest) for step in range(len(one.rates))]
        rows.append((one.label, *cells, *([""] * (steps - len(cells))), f"{largest:.3f}"))
    header = ("place", *(f"step {i + 1}" for i in range(steps)), "highest rate")
    caption = f"Maps of an image of class {label}{said}"
    shown = table(caption, header, rows, class_="maps")
    return tag("div", img(image, f"the image of class {label}", 112), shown, class_="sample")


def _map(image: np.ndarray, one: FiringMap, step: int, largest: float) -> Cell:
    rates = one.rates[step]
    alt = (
        f"{one.label}, step {step + 1}: mean rate {float(rates.mean()):.3f}, highest "
        f"{float(rates.max()):.3f}"
    )
    return Cell(tag("td", img(overlay(image, rates, largest), alt, SIDE)))
