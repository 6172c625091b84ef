"""The spike graph: what a network computes, operator by operator, and of what kind every value
is.
"""

from spikedriven.graph.calls import Call, Operand, register_rule
from spikedriven.graph.kinds import Analog, Constant, Count, Input, Kind, Membrane, Scaled, Spike
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.run import constants, run
from spikedriven.graph.trace import trace

__all__ = [
    "Analog",
    "Call",
    "Constant",
    "Count",
    "Input",
    "Kind",
    "Membrane",
    "Node",
    "Operand",
    "Scaled",
    "Spike",
    "SpikeGraph",
    "Weight",
    "constants",
    "register_rule",
    "run",
    "trace",
]
