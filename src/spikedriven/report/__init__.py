"""Figures and the self-contained HTML page about a run or a network."""

from spikedriven.report.attention import FiringMap, firing_maps
from spikedriven.report.page import write_report
from spikedriven.report.subject import Request

__all__ = ["FiringMap", "Request", "firing_maps", "write_report"]
