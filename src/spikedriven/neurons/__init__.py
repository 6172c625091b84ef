"""Spiking neurons: the readable versions, the registered operators, the modules, and streaming state."""

import spikedriven.neurons.cuda  # noqa: F401  (puts the Triton kernels behind the operators)
from spikedriven.neurons.decompose import decompositions
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.expanded import ExpandedNeuron
from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.lif import lif
from spikedriven.neurons.modules import LIF, Neuron, NeuronFactory, ParametricLIF, neuron_factory
from spikedriven.neurons.naive import lif_naive
from spikedriven.neurons.state import StreamState, open_stream

__all__ = [
    "LIF",
    "ExpandedNeuron",
    "IntegerNeuron",
    "LIFOptions",
    "Neuron",
    "NeuronFactory",
    "ParametricLIF",
    "StreamState",
    "decompositions",
    "lif",
    "lif_naive",
    "neuron_factory",
    "open_stream",
]
