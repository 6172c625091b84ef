"""`run.compile`: a training step under PyTorch's default compiler computes what it computes
without.
"""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import spikedriven as sd
from tests.networks import enliven, shrunk


def gradients(model: nn.Module, called: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Of one step: the loss and the gradients of all parameters."""
    loss = F.cross_entropy(called(x), torch.arange(len(x)) % 5)
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.slow  # inductor compiles for a quarter of a minute and more
@pytest.mark.parametrize("name", ["sdt_2_512_cifar", "meta_spikeformer_15m", "e_spikeformer_5m"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_compiled_step_has_the_same_loss_and_gradients(name: str, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = enliven(sd.create_model(name, **{**shrunk(name), "num_classes": 5}).double().train())
    model = model.to(memory_format=layout)
    twin = copy.deepcopy(model)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected, expected_gradients = gradients(twin, twin, x)
    loss, found = gradients(model, torch.compile(model), x)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    assert len(found) == len(expected_gradients) > 20
    largest = max(float(theirs.abs().max()) for theirs in expected_gradients)
    for ours, theirs in zip(
        found, expected_gradients, strict=True
    ):  # biases before batch norms have rounding alone
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12 * largest)
