"""Neurons in plain operators, for exporters that know no operator of ours."""

from collections.abc import Callable

import torch

from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.expanded import expand_spike_plain
from spikedriven.neurons.integer import integer_spike_plain
from spikedriven.neurons.naive import lif_plain


def decompositions() -> dict[torch._ops.OpOverload, Callable]:
    """For ``ExportedProgram.run_decompositions``: each neuron as compare, cast, multiply, add.
    Inference only.
    """

    def plain_lif(x, v, w, *options):
        return lif_plain(x, v, w, LIFOptions(*options))

    def plain_integer_spike(x, levels, norm, rounding, gradient, threshold=1.0):
        return integer_spike_plain(x, levels, norm, rounding, threshold)

    def plain_expand_spike(x, levels, threshold, rounding):
        return expand_spike_plain(x, levels, threshold, rounding)

    return {
        torch.ops.spikedriven.expand_spike.default: plain_expand_spike,
        torch.ops.spikedriven.lif.default: plain_lif,
        torch.ops.spikedriven.integer_spike.default: plain_integer_spike,
    }
