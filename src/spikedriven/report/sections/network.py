"""The network itself: a drawing of its parts coloured by how much they fire, and one layer's spikes
on one image."""

import io
from typing import Any

from spikedriven.errors import InputError
from spikedriven.report.architecture import architecture
from spikedriven.report.findings import Findings
from spikedriven.report.html import Html, join, section, tag
from spikedriven.report.images import wide_picture
from spikedriven.report.raster import raster


def network(found: Findings) -> Html:
    rates = {name: float(layer.spikes.mean()) for name, layer in found.firing.items()}
    drawn = architecture(found.graph, rates=rates)
    text = (
        "From the input downwards. The more the neurons of a part fire, the darker its blue; light "
        "brown parts have no neurons and hand on real values."
    )
    alt = f"The network as {len(drawn.axes[0].texts) // 2} boxes with their firing rates"
    return section(
        "network",
        "The network",
        tag("p", text),
        _shown(drawn, alt, "Drawing of the network", 814),
        _raster(found),
    )


def _raster(found: Findings) -> Html:
    """Of the layer that the command `raster` picks by itself."""
    try:
        drawn = raster(found.subject.model, found.example)
    except InputError as reason:  # a network of the caller's own may have no neuron module
        return tag("p", f"No raster of spikes: {reason}.")
    text = "Spikes of one layer on one image: a row for each neuron, a column for each time step."
    shown = _shown(drawn, "Raster of the spikes of one layer", "Raster of spikes", 640)
    return join([tag("h3", "Spikes"), tag("p", text), shown])


def _shown(figure: Any, alt: str, label: str, width: int) -> Html:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return wide_picture(buffer.getvalue(), alt, label, width)
