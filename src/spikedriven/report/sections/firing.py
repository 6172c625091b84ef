"""Firing rates of neurons per time step, and the maps of attention blocks."""

import matplotlib
import numpy as np

from spikedriven.neurons import IntegerNeuron
from spikedriven.report.attention import FiringMap
from spikedriven.report.findings import Findings, Sample
from spikedriven.report.html import Cell, Html, heat, join, section, table, tag
from spikedriven.report.images import COLOURS, img, overlay
from spikedriven.report.sections.accuracy import pixels

#: CSS pixels of one map.
SIDE = 84


def firing(found: Findings) -> Html:
    steps = max(len(rates) for rates in found.rates.values())
    largest = max(float(rates.max()) for rates in found.rates.values())
    rows = [
        (name, *(heat(rate, largest, f"{rate:.3f}") for rate in rates.tolist()),
         *([""] * (steps - len(rates))), heat(float(rates.mean()), largest, f"{float(rates.mean()):.3f}"))
        for name, rates in found.rates.items()
    ]  # fmt: skip
    header = ("neuron", *(f"step {i + 1}" for i in range(steps)), "mean")
    what = "images" if found.subject.noise is None else "samples of noise"
    text = (
        f"Mean output of every neuron layer per element and time step over {found.images} {what}; the stronger the "
        f"cell's colour, the higher the rate, up to {largest:.3f}. {_integers(found)}"
    )
    heat_map = table("Firing rate per layer and time step", header, rows, class_="matrix")
    return section("firing", "Firing rates", tag("p", text), heat_map)


def _integers(found: Findings) -> str:
    neurons = [m for m in found.subject.model.modules() if isinstance(m, IntegerNeuron)]
    if not neurons:
        return "Outputs are 0 or 1."
    return f"Integer neurons put out counts up to {neurons[0].levels}, divided by their norm."


def attention(found: Findings) -> Html:
    if not found.maps:
        return section("attention", "Attention maps", tag("p", _why_none(found)))
    text = (
        "Firing rate of each position, averaged over channels, over the image: of the value V, and of what attention "
        "leaves of it (Spike-driven Transformer, NeurIPS 2023, figure 3). Each row has its own scale, from 0 to the "
        "rate in its last column; where nothing fires, the image stays grey."
    )
    return section(
        "attention", "Attention maps", tag("p", text), _legend(), join(_maps(found, s, maps) for s, maps in found.maps)
    )


def _why_none(found: Findings) -> str:
    if found.subject.noise is not None:
        return (
            "None: rates were measured on noise. Name a data set with --data, or use the command "
            f"spikedriven attention {found.subject.request.target} IMAGE."
        )
    if found.dense is not None:
        return "None: the page shows maps of classifiers. See spikedriven attention for a picture of yours."
    return "None: this network has no attention block of this package, or no maps were asked for."


def _legend() -> Html:
    stops = (matplotlib.colormaps[COLOURS](i / 8)[:3] for i in range(9))
    colours = ", ".join("#" + "".join(f"{round(255 * c):02x}" for c in stop) for stop in stops)
    ramp = tag("span", class_="ramp", style=f"background: linear-gradient(to right, {colours})", aria_hidden="true")
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
    alt = f"{one.label}, step {step + 1}: mean rate {float(rates.mean()):.3f}, highest {float(rates.max()):.3f}"
    return Cell(tag("td", img(overlay(image, rates, largest), alt, SIDE)))
