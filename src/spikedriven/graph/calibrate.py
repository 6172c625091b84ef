"""Batch norm statistics from images: what a network with random weights needs before its neurons
fire."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from spikedriven.graph.firing import Batches, each_batch
from spikedriven.graph.inputs import as_inputs, inputs_taken
from spikedriven.graph.trace import as_graphed
from spikedriven.layers import DropPath


def calibrate(model: nn.Module, batches: Batches, progress: bool = False) -> int:
    """Set the running mean and variance of every batch norm to those of the given images, in place.

    With the initial statistics most neurons of a random network stay silent. batches: one batch as
    the model takes it, or a loader of batches or of (batch, labels); statistics are averaged over
    batches, each with the same weight. Nothing is dropped at random, no weight changes, and the
    model's modes come back. Returns how many batch norms were set. Raises InputError for an empty
    loader.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> sd.calibrate(model, images)
        11
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = None  # PyTorch's name for the average over all passes since the reset
            norm.reset_running_stats()
        with as_graphed(model), torch.no_grad():
            _learn_statistics(model)
            for batch in each_batch(batches, inputs_taken(model.forward), progress):
                model(*as_inputs(batch))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return len(norms)


def _learn_statistics(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, _DropoutNd | DropPath):
            module.eval()
