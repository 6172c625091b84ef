"""Neurons in plain operators, for exporters that know no operator of ours."""

from collections.abc import Callable

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.neurons.dynamics import LIFOptions
from spikedriven.neurons.expanded import expand_spike_plain
from spikedriven.neurons.integer import integer_spike_plain
from spikedriven.neurons.naive import lif_plain


def decompositions() -> dict[torch._ops.OpOverload, Callable]:
    """For ``ExportedProgram.run_decompositions``: each neuron as compare, cast, multiply, add.
    Inference only.
    """

    def plain_lif(x, v, w, *options):
        check_steps(x)
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


def check_steps(x: Tensor) -> None:
    """Steps are written out one by one, so their number must not grow with the batch."""
    if isinstance(x.shape[0], torch.SymInt):
        raise InputError(
            "the first axis of a neuron's input holds more than the time steps (batch and time "
            "merged): no file says that for every batch. Give neurons [T, ...], batch apart from "
            "time"
        )


def register_decompositions() -> None:
    """PyTorch's own ONNX exporter finds them: ``torch.onnx.export(model, ..., dynamo=True)``.

    It reads PyTorch's global table. Fake tensors read that table too, before an operator's own
    fake, and would write out every step only to learn a shape. An entry among the "meta" ones
    tells them to take the fake.
    """
    for operator, plain in decompositions().items():
        if operator not in torch._decomp.decomposition_table:
            torch._decomp.register_decomposition(operator)(plain)
            fake = torch._library.simple_registry.singleton.find(operator.name()).fake_impl.kernel
            torch._decomp.register_decomposition(operator, type="meta")(fake)


register_decompositions()
