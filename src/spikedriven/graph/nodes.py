"""The spike graph: one `Node` per operator, in the order they run, and `SpikeGraph` around them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.graph.kinds import Kind


@dataclass(frozen=True)
class Weight:
    """A parameter, buffer or lifted constant of the model, by its qualified name (a key of
    ``graph.weights``).
    """

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Node:
    """One operator of the exported program.

    id: unique name. op: operator class (`rules.OPS`): conv, linear, matmul, multiply, neuron ...
    target: the operator itself, as ``"aten::conv2d"``. module: qualified name of the module that
    called it ("" for the model). inputs: argument name -> id of the producing node; an element of a
    list argument is ``"tensors[0]"``. attrs: every other argument of the operator under its schema
    name, defaults filled in: stride, padding, groups, neuron options, constant factors; weights are
    `Weight`. An operator with several outputs appears once per output that is used, with
    ``attrs["output"]`` its index. kind: what the output is. shape and dtype: of the output, for
    ``graph.batch_size`` images. call: the operator call; it differs from the id where a call has
    several outputs. batch_axis: the axis that grows with the batch; what is left of it is time or
    folded into it. None where there is none, or where the model fixes its batch.
    """

    id: str
    op: str
    target: str
    module: str
    inputs: Mapping[str, str]
    attrs: Mapping[str, Any]
    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype
    call: str = ""
    batch_axis: int | None = None

    @property
    def data(self) -> str:
        """The id of the first input, which carries the data in every operator with one data
        operand.
        """
        return next(iter(self.inputs.values()))

    def weight(self, name: str) -> Weight | None:
        """The named argument where it is a weight, else None."""
        found = self.attrs.get(name)
        return found if isinstance(found, Weight) else None

    def __str__(self) -> str:
        return (
            f"{self.id}: {self.op} in {self.module or 'the model'} -> {self.kind} "
            f"{list(self.shape)}"
        )


@dataclass(frozen=True)
class SpikeGraph:
    """The network as operators and value kinds.

    nodes: in execution order, inputs (op "input") first. outputs: ids of what the model returns.
    batch_size: how many images ``Node.shape`` speaks of: 1, unless the model refuses a variable
    batch. exported: the `torch.export` program that the nodes were read from; it runs, and its
    tensors are the model's own.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    batch_size: int
    dynamic_batch: bool
    exported: torch.export.ExportedProgram
    _by_id: dict[str, Node] = field(init=False, repr=False, compare=False)
    _consumers: dict[str, list[Node]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {node.id: node for node in self.nodes})
        object.__setattr__(self, "_consumers", {node.id: [] for node in self.nodes})
        for node in self.nodes:
            for producer in dict.fromkeys(node.inputs.values()):
                self._consumers[producer].append(node)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, node_id: str) -> Node:
        try:
            return self._by_id[node_id]
        except KeyError:
            raise InputError(f"the graph has no node {node_id!r}") from None

    def consumers(self, node_id: str) -> list[Node]:
        """The nodes that read this value, in execution order."""
        return self._consumers[node_id]

    def operands(self, node: Node) -> list[Node]:
        """The producers of a node's inputs, in argument order."""
        return [self[producer] for producer in node.inputs.values()]

    def find(self, op: str) -> list[Node]:
        """All nodes of one operator class."""
        return [node for node in self.nodes if node.op == op]

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Qualified name -> the model's own tensor (parameters, buffers, constants)."""
        return {**self.exported.state_dict, **self.exported.constants}

    def __str__(self) -> str:
        return "\n".join(str(node) for node in self.nodes)
