"""What tensors take at most, from the profiler's account of every one of them."""

import pytest
import torch
from torch import nn

from spikedriven.bench.memory import Memory, process_peak, tensors_peak

MEGABYTE = 2**20 // 4  # numbers of float32


def test_the_most_at_one_time_counts_not_the_sum():
    def work() -> None:
        first = torch.empty(8 * MEGABYTE)
        second = torch.empty(16 * MEGABYTE)
        del first
        torch.empty(4 * MEGABYTE)
        del second

    assert tensors_peak(work, "cpu") == pytest.approx(24, abs=0.01)


def test_tensors_that_were_there_before_do_not_count():
    before = [torch.empty(64 * MEGABYTE)]

    def work() -> None:
        before.clear()
        torch.empty(2 * MEGABYTE)

    assert tensors_peak(work, "cpu") == pytest.approx(2, abs=0.01)


def test_what_backward_keeps_counts():
    """x and the tanhs, each of 4 MB, are alive when the gradient of the last tanh is made."""

    def work() -> None:
        x = torch.randn(MEGABYTE * 4, requires_grad=True)
        nn.Sequential(*[nn.Tanh() for _ in range(5)])(x).backward(
            torch.ones(()).expand(MEGABYTE * 4)
        )

    assert 4 * 6 <= tensors_peak(work, "cpu") <= 4 * 9


def test_the_process_never_holds_less_than_it_did():
    before = process_peak()
    torch.ones(32 * MEGABYTE)
    assert process_peak() >= before
    assert Memory(before, 1.0).tensors is None
