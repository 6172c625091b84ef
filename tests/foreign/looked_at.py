"""The networks, their graphs and measurements, each made once for all tests of a process."""

from functools import cache

from torch import Tensor, nn

from spikedriven.graph.measurement import Measurement, measure
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.trace import trace
from tests.foreign.networks import BY_NAME, Foreign


def batch(one: Foreign, size: int = 4) -> Tensor | tuple[Tensor, ...]:
    """So many examples, as the functions of the package take them."""
    inputs = one.inputs(size)
    return inputs if len(inputs) > 1 else inputs[0]


def outputs(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


@cache
def network(name: str) -> nn.Module:
    """Not to be changed."""
    return BY_NAME[name].make()


@cache
def graph(name: str) -> SpikeGraph:
    return trace(network(name), batch(BY_NAME[name]))


@cache
def measured(name: str) -> Measurement:
    return measure(graph(name), batch(BY_NAME[name]))
