"""Exported programs in which every value is written once.

``out[t] = spikes`` and ``x += y`` write into a tensor that is read again under its old name. A
graph that follows names would read what stood there before. Where a program does that, PyTorch's
own functional form of it (``select_scatter`` for a written slice) takes its place.
"""

import torch
from torch import fx


def written_once(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program itself, or its functional form where it reads a value that was written over."""
    if any(_overwrites(node) for node in exported.graph.nodes):
        return exported.run_decompositions({})
    return exported


def _overwrites(node: fx.Node) -> bool:
    """Whether the node writes into a value that something else may read afterwards.

    A value with no other reader, which is no view of another one, cannot be read: ReLU in place.
    """
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    arguments = node.target._schema.arguments
    written = [
        node.args[i]
        for i, argument in enumerate(arguments[: len(node.args)])
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return any(isinstance(value, fx.Node) and _shared(value) for value in written)


def _shared(value: fx.Node) -> bool:
    return value.op == "placeholder" or len(value.users) > 1 or _is_view(value)


def _is_view(value: fx.Node) -> bool:
    if not isinstance(value.target, torch._ops.OpOverload):
        return True  # one of several outputs, such as a chunk
    aliases = (argument.alias_info for argument in value.target._schema.arguments)
    return any(alias is not None and not alias.is_write for alias in aliases)
