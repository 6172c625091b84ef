"""Where did a non-finite number come from? Asked once, after a run has gone wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.errors import SpikedrivenError


class NonFiniteError(SpikedrivenError):
    """The loss or a gradient of a training step is infinite or not a number."""


def first_non_finite(model: nn.Module, rerun: Callable[[], Any], batch: Any = None) -> str | None:
    """Name what is non-finite first: a parameter, else the batch, else the first module (in order
    of execution) whose output is, else a gradient.

    rerun: repeats the forward pass that went wrong. batch: the tensors of it. None: everything is
    finite.
    """
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"parameter {name} is already non-finite before this step"
    if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(batch)):
        return "the batch itself is non-finite"
    found = _first_module(model, rerun)
    if found is not None:
        return f"the output of module {found} is the first to be non-finite"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"all outputs are finite; the gradient of {name} is not"
    return None


def _first_module(model: nn.Module, rerun: Callable[[], Any]) -> str | None:
    names: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(output)):
                names.append(name)

        return hook

    handles = [
        module.register_forward_hook(watch(name or type(module).__name__))
        for name, module in model.named_modules()
    ]
    try:
        with torch.no_grad():
            rerun()
    finally:
        for handle in handles:
            handle.remove()
    return names[0] if names else None


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for item in output:
            yield from _tensors(item)
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))
