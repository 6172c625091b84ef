"""Firing rates of every neuron, step by step."""

from collections import defaultdict
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikedriven.neurons import Neuron


class StepMeans:
    """Means of what neurons put out, per step, over all calls of the model inside its ``with`` block."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._sums: dict[str, Any] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, module in self.model.named_modules():
            if isinstance(module, Neuron):
                hook = lambda _module, _inputs, output, name=name: self._add(name, output)  # noqa: E731
                self._hooks.append(module.register_forward_hook(hook))
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _add(self, name: str, output: Tensor) -> None:
        self._sums[name] = self._sums[name] + output.flatten(1).sum(1, dtype=torch.float64)
        self._counts[name] += output[0].numel()

    def result(self) -> dict[str, Tensor]:
        """Neuron -> float64 [T], in the order of their first call; neurons never called are left out."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}
