"""A briefly trained foreign network is as accurate when it is quantized and compiled.

The task is far easier than what the networks can learn: which quarter of the picture is bright. So
the bounds hold wherever training goes.
"""

import pytest
import torch
from torch import Tensor, nn

import spikedriven as sd
from tests.engine.same import check_same
from tests.foreign.networks import BY_NAME

QUARTERS = 4


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise [B, 3, 16, 16] of which one quarter is bright, and which one."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, QUARTERS, (count,), generator=draws)
    images = 0.3 * torch.randn(count, 3, 16, 16, generator=draws)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 8 * (label // 2) :, 8 * (label % 2) :][:, :8, :8] += 1.5
    return images, labels


def trained(name: str) -> nn.Module:
    net = BY_NAME[name].make().train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(40):
        images, labels = pictures(32, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg", "integer", "sew_resnet_add"])
def test_quantizing_and_compiling_keep_the_accuracy(name: str) -> None:
    net, (images, labels) = trained(name), pictures(200, 1000)
    small = sd.quantize(net, images[:32])
    program = sd.compile(small, images[:32])
    check_same(small, program, (images[:4],))
    with torch.no_grad():
        accuracy = {
            "network": (net(images).argmax(1) == labels).float().mean().item(),
            "program": (program(images).argmax(1) == labels).float().mean().item(),
        }
    assert min(accuracy.values()) > 0.9, accuracy
