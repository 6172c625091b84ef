"""Figures of a network: ``spikedriven.plot.raster(model, image)`` and its neighbours.

Each function returns a figure of matplotlib's: notebooks show it, ``figure.savefig("a.png")``
writes it. Reports draw themselves: ``spikedriven.energy(model, images).plot()``.
"""

from spikedriven.plot.networks import attention, energy, rates
from spikedriven.report.architecture import architecture
from spikedriven.report.raster import raster

__all__ = ["architecture", "attention", "energy", "raster", "rates"]
