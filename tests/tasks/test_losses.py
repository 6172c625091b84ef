"""TET against the figures of the SDT release, and the rest by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes.types import LossConfig
from spikedriven.tasks.losses import TETLoss, balanced_weights, create_loss, distillation_loss
from tests.golden import rule

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "sdtv1_cifar10_2_512_tet.json").read_text()
)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("smoothing", "field"), [(0.0, "tet_loss_ce"), (0.1, "tet_loss_smooth0.1")]
)
def test_tet_equals_the_release(mode: str, smoothing: float, field: str) -> None:
    logits = torch.tensor(GOLDEN[mode]["logits"], dtype=torch.float64)
    labels = torch.tensor(GOLDEN["labels"])
    # smoothing is part of the targets here: 1 - s + s / K on the label, s / K elsewhere
    targets = F.one_hot(labels, 10).double() * (1 - smoothing) + smoothing / 10
    loss = create_loss(LossConfig(tet=True, tet_lamb=1e-3, tet_means=1.0))(logits, targets)
    assert loss.item() == pytest.approx(GOLDEN[mode][field], rel=1e-12)


def test_tet_without_regularisation_is_the_mean_over_time() -> None:
    logits, labels = torch.randn(3, 2, 5, dtype=torch.float64), torch.tensor([1, 4])
    expected = sum(F.cross_entropy(step, labels) for step in logits) / 3
    assert TETLoss(torch.nn.CrossEntropyLoss(), lamb=0.0)(logits, labels).item() == pytest.approx(
        expected.item()
    )


def test_tet_refuses_logits_already_averaged() -> None:
    with pytest.raises(InputError, match="per_step"):
        TETLoss(torch.nn.CrossEntropyLoss())(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))


def test_cross_entropy_takes_soft_and_hard_targets() -> None:
    logits, labels = torch.randn(4, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    loss = create_loss(LossConfig())
    assert loss(logits, F.one_hot(labels, 5).double()).item() == pytest.approx(
        loss(logits, labels).item()
    )


def test_class_weights_multiply_each_class() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 3, 2, 0])
    weights = (0.5, 2.0, 1.0, 0.0)
    criterion = create_loss(LossConfig(class_weights=weights))
    log_p = logits.log_softmax(1)
    hard = -sum(weights[int(y)] * log_p[i, y] for i, y in enumerate(labels)) / 6
    assert criterion(logits, labels).item() == pytest.approx(hard.item(), rel=1e-12)
    soft = torch.rand(6, 4, dtype=torch.float64).softmax(1)
    expected = -(torch.tensor(weights) * soft * log_p).sum(1).mean()
    assert criterion(logits, soft).item() == pytest.approx(expected.item(), rel=1e-12)
    one_hot = F.one_hot(labels, 4).double()
    assert criterion(logits, one_hot).item() == pytest.approx(hard.item(), rel=1e-12)


def test_class_weights_do_not_depend_on_how_a_batch_is_cut() -> None:
    logits, labels = torch.randn(8, 3, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 2, 2, 1])
    criterion = create_loss(LossConfig(class_weights=(0.1, 5.0, 1.0)))
    halves = [criterion(logits[part], labels[part]) for part in (slice(0, 4), slice(4, 8))]
    assert criterion(logits, labels).item() == pytest.approx(float(sum(halves)) / 2, rel=1e-12)
    plain = create_loss(LossConfig(class_weights=(1.0, 1.0, 1.0)))(logits, labels)
    assert plain.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-12)


def test_class_weights_under_tet() -> None:
    logits, labels = torch.randn(2, 5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    weights = (0.5, 1.0, 3.0)
    loss = create_loss(LossConfig(class_weights=weights, tet=True, tet_lamb=0.0))(logits, labels)
    single = create_loss(LossConfig(class_weights=weights))
    assert loss.item() == pytest.approx(
        float(single(logits[0], labels) + single(logits[1], labels)) / 2, rel=1e-12
    )


def test_balanced_weights_are_scikit_learns() -> None:
    """N / (K n): 6 samples of 3 classes; every class then weighs 6 / 3 in all."""
    targets = np.array([0, 0, 0, 1, 1, 2])
    weights = balanced_weights(targets, ("a", "b", "c"))
    assert weights == pytest.approx((6 / 9, 6 / 6, 6 / 3))
    assert np.bincount(targets) * np.array(weights) == pytest.approx([2, 2, 2])
    with pytest.raises(RecipeError, match="no train sample of d; give numbers"):
        balanced_weights(targets, ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    "values",
    [{"class_weights": "balanced"}, {"class_weights": (1.0,), "kind": "binary_cross_entropy"}],
)
def test_class_weights_that_are_refused(values: dict) -> None:
    with pytest.raises(
        RecipeError, match=r"loss\.class_weights: expected numbers, for loss\.kind cross_entropy"
    ):
        create_loss(LossConfig(**values))


def test_binary_cross_entropy_with_threshold() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    loss = create_loss(LossConfig(kind="binary_cross_entropy", bce_target_thresh=0.2))
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0, 1.0]]))
    assert loss(logits, torch.tensor([[0.5, 0.1, 0.4]])).item() == pytest.approx(expected.item())


KD = json.loads((Path(__file__).parents[1] / "golden" / "sdtv3_units.json").read_text())["kd"]


@pytest.mark.parametrize(
    ("field", "kind", "tau"),
    [("hard", "hard", 1.0), ("soft", "soft", 1.0), ("soft_tau3", "soft", 3.0)],
)
def test_distillation_equals_the_release(field: str, kind: str, tau: float) -> None:
    """Its teacher is Linear(4, 7); alpha is 0.5."""
    weights = rule.weights({"state_dict": [["weight", [7, 4], ""], ["bias", [7], ""]]})
    images = torch.as_tensor(np.random.Generator(np.random.PCG64(8)).standard_normal((3, 4)))
    first, second = torch.as_tensor(
        np.random.Generator(np.random.PCG64(9)).standard_normal((2, 3, 7))
    )
    base = F.cross_entropy(first, torch.tensor([0, 3, 6]))
    assert base.item() == pytest.approx(KD["none"], rel=1e-12)
    taught = distillation_loss(second, images @ weights["weight"].T + weights["bias"], kind, tau)
    assert (0.5 * base + 0.5 * taught).item() == pytest.approx(KD[field], rel=1e-12)
