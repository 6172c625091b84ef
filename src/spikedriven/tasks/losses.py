"""Losses of the releases. Targets are class numbers int64 [B] or soft targets float [B, K] (mixing
and smoothing happen in data).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy
from torch import Tensor, nn

from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.types import LossConfig

Criterion = Callable[[Tensor, Tensor], Tensor]


class TETLoss(nn.Module):
    """Temporal efficient training loss, as the SDT release computes it (Deng et al., ICLR 2022, has
    the idea).

    `(1 - lamb) * mean_t criterion(o_t, y) + lamb * mean((o - means)^2)` for logits o of shape [T,
    B, K].
    """

    def __init__(self, criterion: Criterion, lamb: float = 1e-3, means: float = 1.0) -> None:
        super().__init__()
        self.criterion, self.lamb, self.means = criterion, lamb, means

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.ndim != 3:
            raise InputError(
                f"TET loss: expected logits [T, B, K], found shape {tuple(logits.shape)}; "
                'build the model with output="per_step"'
            )
        per_step = torch.stack([self.criterion(step, target) for step in logits]).mean()
        if self.lamb == 0:
            return per_step
        return (1 - self.lamb) * per_step + self.lamb * (logits - self.means).square().mean()


class WeightedCrossEntropy(nn.Module):
    """Mean over the batch of the cross entropy, each class's part times its weight.

    `-mean_i sum_c weights[c] y_ic log p_ic` for targets y float [B, K], or int64 [B] as one-hot. It
    is divided by B and not by the sum of the weights (PyTorch's mean over class numbers): so the
    loss of a batch is the mean of those of its parts, however it is spread over processes.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        weights = self.weights.to(logits.device, logits.dtype)
        return F.cross_entropy(logits, target, weight=weights, reduction="sum") / len(logits)


def balanced_weights(targets: np.ndarray, classes: Sequence[str]) -> tuple[float, ...]:
    """N / (K n) for each of K classes with n of N samples: all classes then have the same part in
    the loss. RecipeError for a class without any."""
    counts = np.bincount(targets, minlength=len(classes))
    if not counts.all():
        missing = [name for name, count in zip(classes, counts, strict=True) if not count]
        raise RecipeError(
            f"loss.class_weights balanced: no train sample of {', '.join(missing[:5])}; give "
            "numbers"
        )
    return tuple((len(targets) / (len(classes) * counts)).tolist())


def create_loss(config: LossConfig) -> nn.Module:
    """The training loss: (logits, targets) -> scalar mean over the batch. RecipeError for class
    weights that are not numbers yet, or beside a loss without them."""
    criterion: nn.Module = nn.CrossEntropyLoss()  # takes class numbers as well as soft targets
    if config.class_weights is not None:
        if config.kind != "cross_entropy" or isinstance(config.class_weights, str):
            raise RecipeError(
                "loss.class_weights: expected numbers, for loss.kind cross_entropy; found "
                f"{config.class_weights} for "
                f"{config.kind}"
            )
        criterion = WeightedCrossEntropy(config.class_weights)
    if config.kind == "binary_cross_entropy":
        criterion = BinaryCrossEntropy(smoothing=0.0, target_threshold=config.bce_target_thresh)
    return TETLoss(criterion, config.tet_lamb, config.tet_means) if config.tet else criterion


def distillation_loss(student: Tensor, teacher: Tensor, kind: str, tau: float) -> Tensor:
    """How far logits [B, K] are from a teacher's, as DeiT and the SDT-V2 and V3 releases measure
    it.

    hard: cross entropy with the teacher's most likely class. soft: tau^2 times the Kullback-Leibler
    divergence of the two distributions at temperature tau, summed and divided by B * K (not by B,
    as is usual elsewhere).
    """
    if kind == "hard":
        return F.cross_entropy(student, teacher.argmax(1))
    log_p, log_q = F.log_softmax(student / tau, dim=1), F.log_softmax(teacher / tau, dim=1)
    return F.kl_div(log_p, log_q, reduction="sum", log_target=True) * tau**2 / student.numel()


def evaluation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits [B, K] against labels [B], summed over the batch."""
    return F.cross_entropy(logits, labels, reduction="sum")
