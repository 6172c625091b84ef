"""Networks whose weights are set by a rule, for tests that need a reaction: other pictures, other
spikes, other logits.

What a toy learns in a minute depends on how its machine rounds, and now and then it learns to be
silent. These weights are whole numbers over a power of two and every batch norm multiplies by one,
so the sums of spikes in a float32 network are exact in any order. Every batch norm adds 1/1024 more
than a multiple of 1/8: no such sum lies on a threshold, where the last bit would decide. So every
machine counts the same spikes.
"""

import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from spikedriven.data import build_eval_loader
from spikedriven.runs.checkpoint import CheckpointStore, load_run


def build_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Set all weights and batch norms in place; time constants and scales of branches stay. In
    evaluation mode.
    """
    rng = torch.Generator().manual_seed(seed)

    def whole(like: Tensor, largest: int) -> Tensor:
        return torch.randint(-largest, largest + 1, like.shape, generator=rng).to(like.dtype)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                size = 2 ** (math.floor(math.log2(module.weight[0].numel()) / 2) - 1)
                module.weight.copy_(whole(module.weight, 2) / size)
                if module.bias is not None:
                    module.bias.copy_(whole(module.bias, 2) / 8)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.zero_()
                module.running_var.fill_(1 - module.eps)
                module.weight.fill_(1.0)
                module.bias.copy_((whole(module.bias, 8) + 4) / 8 + 1 / 1024)
    return model.eval()


def spread_answers(model: nn.Module, images: Tensor) -> nn.Module:
    """Set the head so that these images get different classes: what all of them share is taken
    away in the bias.
    """
    with torch.no_grad():
        model.head.weight.mul_(4)
        logits = model(images)
        common = logits.double().flatten(0, -2).mean(0)
        model.head.bias.sub_((8 * common).round().to(logits.dtype) / 8)
    return model


def build_run(folder: Path, seed: int = 0) -> Path:
    """Give the newest checkpoint of a run such weights, and others to its average. Returns the
    folder.
    """
    store = CheckpointStore(folder)
    found = store.newest()
    assert found is not None
    path, checkpoint = found
    average = None if checkpoint.ema is None else _built(folder, True, seed + 1)
    changed = dataclasses.replace(checkpoint, model=_built(folder, False, seed), ema=average)
    store.save(int(path.name[-8:]), changed)
    return folder


def _built(folder: Path, average: bool, seed: int) -> dict[str, Tensor]:
    model, recipe = load_run(folder, ema=average)
    images, _ = next(iter(build_eval_loader(recipe.data, "test", batch_size=20)))
    return spread_answers(build_weights(model, seed), images).state_dict()
