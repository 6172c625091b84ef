"""Several labels per picture: the figures by hand, and over processes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from spikedriven.errors import InputError
from spikedriven.runs.distributed import World
from spikedriven.tasks.tags import Tags, average_precision, measure_tags

ALONE = World(0, 1, torch.device("cpu"))


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([3.0, 2.0, 1.0], [1, 0, 1], (1 + 2 / 3) / 2),
        ([3.0, 2.0, 1.0], [0, 0, 1], 1 / 3),
        ([1.0, 1.0, 1.0, 1.0], [1, 0, 0, 1], 1 / 2),  # one score: precision of all, whatever order
        ([2.0, 2.0, 1.0], [0, 1, 1], (1 / 2 + 2 / 3) / 2),
        ([2.0, 1.0], [1, 1], 1.0),
    ],
)
def test_average_precision_by_hand(scores: list[float], labels: list[int], expected: float):
    found = average_precision(np.array(scores), np.array(labels, dtype=bool))
    assert found == pytest.approx(100 * expected)
    order = np.random.default_rng(0).permutation(len(scores))
    shuffled = average_precision(np.array(scores)[order], np.array(labels, dtype=bool)[order])
    assert shuffled == pytest.approx(found)


def test_a_class_without_a_picture_does_not_count():
    assert math.isnan(average_precision(np.array([1.0, 2.0]), np.zeros(2, dtype=bool)))
    scores = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    labels = np.array([[1, 0, 0], [1, 1, 0]], dtype=bool)
    found = Tags(scores, labels)
    assert found.precision()[:2].tolist() == [100.0, 100.0] and found.mean_precision == 100.0
    # of the first class one of two is given, of the second the one; of the third there is nothing
    assert found.f1()[:2].tolist() == pytest.approx([200 / 3, 100.0]) and math.isnan(found.f1()[2])
    assert found.macro_f1 == pytest.approx((200 / 3 + 100) / 2)
    assert found.micro_f1 == pytest.approx(200 * 2 / (2 + 3))
    given = math.log1p(math.exp(-1))
    assert found.loss == pytest.approx((5 * given + math.log1p(math.exp(1))) / 6)


class Steps(nn.Module):
    """Gives its input at each of two time steps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x, 3 * x])


def test_outputs_of_all_steps_are_averaged():
    batches = [(torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 0.0]]))] * 2
    found = measure_tags(Steps(), batches, 2, ALONE)
    assert found.scores.tolist() == [[2.0, -4.0]] * 2 and found.count == 2
    with pytest.raises(InputError, match="tells 2 classes apart, the data set has 3"):
        measure_tags(Steps(), batches, 3, ALONE)
    with pytest.raises(InputError, match="nothing to evaluate"):
        measure_tags(Steps(), [], 2, ALONE)
