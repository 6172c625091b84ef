import pytest
import torch
from torch import Tensor

from spikedriven.layers import linear_attention


def counts(channels: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 5, (2, 3, channels, size, size), generator=generator).double()


def attend(layout: torch.memory_format, channels_v: int, size: int) -> list[Tensor]:
    """The result and the gradients of q, k and v."""
    inputs = [
        counts(c, size, seed)
        .flatten(0, 1)
        .contiguous(memory_format=layout)
        .unflatten(0, (2, 3))
        .requires_grad_()
        for seed, c in enumerate((8, 8, channels_v))
    ]
    result = linear_attention(*inputs, num_heads=2)
    (result * counts(channels_v, size, seed=3)).sum().backward()
    return [result, *(x.grad for x in inputs)]


@pytest.mark.parametrize("size", [1, 3, 9], ids=["one token", "tokens first", "channels first"])
@pytest.mark.parametrize("channels_v", [8, 24])
def test_layout_in_memory_changes_nothing(channels_v: int, size: int) -> None:
    for first, last in zip(
        attend(torch.contiguous_format, channels_v, size),
        attend(torch.channels_last, channels_v, size),
        strict=True,
    ):
        torch.testing.assert_close(first, last, rtol=0, atol=0)


def test_result_keeps_channels_last() -> None:
    result = attend(torch.channels_last, channels_v=24, size=9)[0]
    assert result.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
