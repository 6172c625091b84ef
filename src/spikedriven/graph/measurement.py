"""The table of layers with their rates: measured on images, or given. Every convention costs the
same table."""

from dataclasses import dataclass
from itertools import chain

from torch import nn

from spikedriven.errors import InputError
from spikedriven.graph.audit import NO_NEURON
from spikedriven.graph.counts import (
    PRODUCT_OPS,
    WEIGHT_OPS,
    Layer,
    count_layers,
    operands_to_measure,
)
from spikedriven.graph.firing import Batches, each_batch, operand_rates
from spikedriven.graph.forms import Form, in_form, natural_form
from spikedriven.graph.given_rates import GivenRates, rates_by_node
from spikedriven.graph.inputs import Inputs, first_of, graphed_method, inputs_taken
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.steps import time_steps, without_time
from spikedriven.graph.trace import trace

BATCH_AS_TIME = (
    "these neurons read [B, ...] and take the batch for time steps, so that images disturb one "
    "another "
    "(neurons read [T, B, ...]; write x.unsqueeze(0) for one step)"
)
ALL_SILENT = (
    "no neuron fired on any image: weights that were not loaded, or batch norms that saw no image"
)


@dataclass(frozen=True)
class Measurement:
    """layers: in execution order. images: how many were averaged, 0 where rates were given.
    time_steps: T.

    form: which form of the network the layers are of. source: where the rates are from, "" where
    they were measured. doubts: why the figures give no grounds for a verdict; empty where they do.
    """

    layers: tuple[Layer, ...]
    images: int
    time_steps: int
    form: str = "as given"
    source: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def multiplying(self) -> list[Layer]:
        """Weight layers and products: what an ANN of the same shape computes as well."""
        return [layer for layer in self.layers if layer.op in (*WEIGHT_OPS, *PRODUCT_OPS)]

    @property
    def steps(self) -> int:
        """Binary steps T x D: the steps of a neuron times its largest count."""
        outputs = [
            (layer.passes, layer.output) for layer in self.layers if layer.output is not None
        ]
        return max(
            (passes * output.levels for passes, output in outputs if output.spiking),
            default=self.time_steps,
        )

    @property
    def spikes(self) -> float:
        """All spikes of an image; a count n is n spikes."""
        return sum(layer.spikes for layer in self.layers)

    def basis(self) -> str:
        """What the figures rest on."""
        rates = (
            f"rates given by {self.source}" if self.source else f"mean over {self.images} images"
        )
        spikes = f", {self.spikes:.6g} spikes per image" if self.spikes == self.spikes else ""
        return f"network {self.form}; per image, {rates}, T = {self.time_steps}{spikes}"

    def warning(self) -> str:
        """What a reader must know first; "" where nothing speaks against a verdict."""
        return f"NO VERDICT: {'; '.join(self.doubts)}" if self.doubts else ""


def measure(
    model: nn.Module | SpikeGraph,
    batches: Batches,
    progress: bool = False,
    form: Form | None = None,
) -> Measurement:
    """The table with rates measured on a batch or a loader, to be costed under any number of
    conventions.

    form: None: folded where that changes a weight layer, else released (see `forms.natural_form`).
    A graph is counted as it is. Folding is checked to compute the same on the first image.
    """
    taken = (
        len(model.find("input"))
        if isinstance(model, SpikeGraph)
        else inputs_taken(graphed_method(model))
    )
    stream = each_batch(batches, taken, progress)
    first = next(stream)
    graph, name = graph_in_form(model, first, form)
    rates, images = operand_rates(graph, operands_to_measure(graph), chain([first], stream))
    layers = tuple(count_layers(graph, rates))
    return Measurement(layers, images, time_steps(graph), name, doubts=_doubts(graph, layers))


def graph_in_form(
    model: nn.Module | SpikeGraph, example: Inputs, form: Form | None, check: bool = True
) -> tuple[SpikeGraph, str]:
    """The graph of a model in a form, and the name of the form. check: that folding computes the
    same."""
    if isinstance(model, SpikeGraph):
        if form is not None:
            raise InputError("a graph is counted as it is; hand in the model to choose a form")
        return model, "as given"
    if form in (None, "released"):
        released = trace(model, example)
        form = form or natural_form(released)
        if form == "released":
            return released, form
    return trace(in_form(model, form, first_of(example), check), example), form


def measurement_of(
    model: nn.Module, example: Inputs, given: GivenRates, form: Form | None = None
) -> Measurement:
    """The table with rates from a file; conventions that need a rate that is not there will say so.

    Nothing runs: a model without memory for its weights ("meta") will do."""
    graph, name = graph_in_form(model, example, form, check=False)
    steps = time_steps(graph)
    if given.time_steps not in (None, steps):
        raise InputError(
            f"{given.path}: rates over {given.time_steps} time steps, and the network has {steps}"
        )
    layers = tuple(count_layers(graph, rates_by_node(graph, given)))
    return Measurement(layers, 0, steps, name, str(given), _doubts(graph, layers))


def _doubts(graph: SpikeGraph, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    timeless = without_time(graph)
    if timeless:
        return (f"{BATCH_AS_TIME}: {', '.join(timeless)}",)
    outputs = [layer for layer in layers if layer.output is not None and layer.output.spiking]
    if not outputs:
        return (NO_NEURON,)
    return (ALL_SILENT,) if all(layer.spikes == 0.0 for layer in outputs) else ()
