"""Spiking neurons: one file each, a registry by name, the operators, and streaming state.

docs/add_a_neuron.md says how to write one.
"""

import spikedriven.neurons.cuda  # noqa: F401  (puts the Triton kernels behind the operators)
from spikedriven.kernels.spec import IntegerSpec, LIFSpec, NeuronSpec
from spikedriven.neurons.adaptive import AdaptiveLIF
from spikedriven.neurons.base import Neuron
from spikedriven.neurons.decompose import decompositions
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.expanded import ExpandedNeuron
from spikedriven.neurons.heaviside import fire
from spikedriven.neurons.integer import IntegerNeuron
from spikedriven.neurons.integrate_and_fire import IF
from spikedriven.neurons.learnt_threshold import ThresholdLIF
from spikedriven.neurons.lif import LIF, lif
from spikedriven.neurons.naive import lif_naive
from spikedriven.neurons.parametric import ParametricLIF
from spikedriven.neurons.registry import (
    NeuronChoice,
    NeuronFactory,
    list_neurons,
    neuron_factory,
    register_neuron,
)
from spikedriven.neurons.state import StreamState, open_stream
from spikedriven.neurons.surrogate import register_surrogate

__all__ = [
    "IF",
    "LIF",
    "AdaptiveLIF",
    "ExpandedNeuron",
    "IntegerNeuron",
    "IntegerSpec",
    "LIFOptions",
    "LIFSpec",
    "Neuron",
    "NeuronChoice",
    "NeuronFactory",
    "NeuronSpec",
    "ParametricLIF",
    "StreamState",
    "ThresholdLIF",
    "decompositions",
    "fire",
    "lif",
    "lif_naive",
    "list_neurons",
    "neuron_factory",
    "open_stream",
    "register_neuron",
    "register_surrogate",
]
