"""Activation checkpointing of modules with batch norms: the second forward pass must not count
as a second batch.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor:
    """``module(*inputs)``, of which only the inputs are kept for the backward pass; same values,
    gradients and running statistics.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_stand_still(module)

    return checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_stand_still(module: nn.Module) -> Iterator[None]:
    """Batch norms go on normalising by the batch, and add nothing of it to their running
    statistics.

    By a momentum of 0, and not by switching the statistics off: what autograd saves must be the
    same both times.
    """
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    before = [(norm.momentum, _batches(norm).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            _batches(norm).copy_(batches)


def _batches(norm: _BatchNorm) -> Tensor:
    """How many batches a norm has counted that tracks its statistics."""
    return cast(Tensor, norm.num_batches_tracked)
