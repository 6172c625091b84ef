"""What a network is called with: one tensor, or a tuple of several, each with the batch as its
first axis.
"""

import inspect
from typing import Any

from torch import Tensor, nn

from spikedriven.errors import InputError

#: One batch as a network takes it.
Inputs = Tensor | tuple[Tensor, ...]


def as_inputs(batch: object) -> tuple[Tensor, ...]:
    """The tensors of a batch. Raises InputError for anything else, an empty batch, or several
    batch sizes.
    """
    tensors = batch if isinstance(batch, tuple) and batch else (batch,)
    found = [_described(tensor) for tensor in tensors]
    if not all(isinstance(tensor, Tensor) and tensor.ndim and len(tensor) for tensor in tensors):
        raise InputError(
            "expected a batch of at least one example, as a tensor or a tuple of the network's "
            "inputs, found " + ", ".join(found)
        )
    if len({len(tensor) for tensor in tensors}) > 1:
        raise InputError(
            f"the inputs of a network have the batch as their first axis; found {', '.join(found)}"
        )
    return tuple(tensors)


def _described(value: object) -> str:
    return f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def first_of(batch: Inputs, count: int = 1) -> Inputs:
    """The first examples of a batch, in the form of the batch."""
    return batch[:count] if isinstance(batch, Tensor) else tuple(tensor[:count] for tensor in batch)


def batch_size(batch: Inputs) -> int:
    return len(batch) if isinstance(batch, Tensor) else len(batch[0])


def inputs_taken(forward: Any) -> int:
    """How many inputs a network's forward asks for; 1 where it does not say."""
    asked = [
        parameter
        for parameter in inspect.signature(forward).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    return max(len(asked), 1)


def graphed_method(model: nn.Module) -> Any:
    """What `trace` traces: ``forward``, or the method that the model names in ``graph_method``."""
    return getattr(model, getattr(model, "graph_method", "forward"))
