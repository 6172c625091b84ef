"""Firing rates from a file, in place of a measurement: what a paper, a log or a colleague gives.

A file is JSON::

    {"neurons": {"blocks.0.attn.q.neuron": 0.172, ...},
     "layers": {"stem.1.project.conv": 0.258, ...},
     "network": "spikingformer_8_512", "time_steps": 4, "source": "where the rates are from"}

neurons: mean output of a neuron, as `firing_rates` gives it (spikes: 0..1 per element and step;
counts divided by their norm). layers: mean input of a weight layer, spikes per element and step,
counts undivided. Either may be left out. A flat object of numbers is taken for neurons. network,
time_steps and source are optional; what they say is checked.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikedriven.errors import InputError
from spikedriven.graph import kinds
from spikedriven.graph.counts import WEIGHT_OPS, layer_name, operands_to_measure
from spikedriven.graph.nodes import Node, SpikeGraph
from spikedriven.graph.paths import data_operand

#: Two rates for one value may differ by this share: logs round.
TOLERANCE = 1e-3
_KEYS = {"network", "time_steps", "images", "source", "neurons", "layers"}
#: What `spikedriven firing --out FILE.json` says beside them; energies do not need it.
_BESIDE = {"firing", "notes"}


@dataclass(frozen=True)
class GivenRates:
    """The content of a file. path: where it was read; the other fields as in the file."""

    path: Path
    neurons: Mapping[str, float]
    layers: Mapping[str, float] = field(default_factory=dict)
    network: str = ""
    time_steps: int | None = None
    source: str = ""

    def __str__(self) -> str:
        return self.source or str(self.path)


def read_rates(path: Path) -> GivenRates:
    """Raises InputError for a file that cannot be read, an unknown key, or a rate that is no number
    from 0 up."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file: {error}") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"{path}: expected an object with rates under neurons and layers")
    if all(isinstance(value, int | float) for value in found.values()):
        found = {"neurons": found}
    unknown = sorted(found.keys() - _KEYS - _BESIDE)
    if unknown or not ("neurons" in found or "layers" in found):
        raise InputError(
            f"{path}: expected neurons or layers beside {', '.join(sorted(_KEYS))}; found "
            f"{sorted(found)}"
        )
    return GivenRates(
        path=path,
        neurons=_rates(path, found.get("neurons", {})),
        layers=_rates(path, found.get("layers", {})),
        network=str(found.get("network", "")),
        time_steps=found.get("time_steps"),
        source=str(found.get("source", "")),
    )


def _rates(path: Path, found: Any) -> dict[str, float]:
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: neurons and layers are objects of name: rate, found {type(found).__name__}"
        )
    for name, rate in found.items():
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < math.inf:
            raise InputError(f"{path}: the rate of {name} is {rate!r}; expected a number from 0 up")
    return {name: float(rate) for name, rate in found.items()}


def rates_by_node(graph: SpikeGraph, given: GivenRates) -> dict[str, float]:
    """Node -> mean whole number, of every operand whose rate follows from the file.

    A rate holds for a value wherever it is only reshaped. Raises InputError for a name that the
    network does not have, a rate above the largest count, and two rates for one value."""
    known: dict[str, tuple[str, float]] = {}
    used = set()
    for section, name, node, rate in _found(graph, given):
        used.add((section, name))
        _check_size(given, name, node, rate)
        key = _producer(graph, node).id
        other, before = known.setdefault(key, (name, rate))
        if abs(before - rate) > TOLERANCE * max(before, rate):
            raise InputError(
                f"{given.path}: {name} and {other} read the same value, at rates {rate:g} and "
                f"{before:g}"
            )
    wanted = {("neurons", name) for name in given.neurons} | {
        ("layers", name) for name in given.layers
    }
    unknown = [name for _, name in sorted(wanted - used)]
    if unknown:
        raise InputError(
            f"{given.path}: the network reads no spikes at {', '.join(unknown[:4])}"
            f"{f' and {len(unknown) - 4} more' if len(unknown) > 4 else ''}; sd.firing_rates lists "
            "its neurons"
        )
    producers = {node: _producer(graph, graph[node]).id for node in operands_to_measure(graph)}
    return {node: known[producer][1] for node, producer in producers.items() if producer in known}


def _found(graph: SpikeGraph, given: GivenRates) -> Iterator[tuple[str, str, Node, float]]:
    """(section, name, node whose value it is, mean whole number); layers first: a log gives them
    most exactly."""
    for node in graph:
        if node.op in WEIGHT_OPS and layer_name(node) in given.layers:
            source = data_operand(graph, node)
            if kinds.span(source.kind) is not None:
                yield "layers", layer_name(node), source, given.layers[layer_name(node)]
    for node in graph.find("neuron"):
        span = kinds.span(node.kind)
        if node.module in given.neurons and span is not None:
            yield "neurons", node.module, node, given.neurons[node.module] / abs(span.factor)


def _check_size(given: GivenRates, name: str, node: Node, rate: float) -> None:
    span = kinds.span(node.kind)
    if span is not None and rate > span.high * (1 + 1e-9):
        raise InputError(
            f"{given.path}: {name} has {rate:g} spikes per element and step, more than {span.high}"
        )


def _producer(graph: SpikeGraph, node: Node) -> Node:
    """What made the value, behind operators that keep its mean."""
    while node.op in ("reshape", "identity", "repeat") and node.inputs:
        node = graph[node.data]
    return node
