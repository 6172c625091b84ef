"""Freed memory that stays, and blocks that are computed again."""

import platform
import subprocess
import sys

import pytest
import torch

import spikedriven as sd

PROGRAM = """
import resource, sys, torch
from spikedriven.training.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12): torch.ones(20_000_000)  # small blocks settle in what the first ones leave
before = faults()
for _ in range(5): torch.ones(20_000_000)
print(kept, faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_tensor_of_the_next_step_needs_no_new_pages():
    def faults(how):
        command = [sys.executable, "-c", PROGRAM, how]
        kept, count = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
        return kept, int(count)

    (kept, few), (_, many) = faults("keep"), faults("leave")
    assert kept == "True" and few < many / 20


@pytest.mark.parametrize(
    "name, options",
    [
        ("sdt_2_256_cifar", {"embed_dim": 32, "img_size": 16, "drop_path_rate": 0.5}),
        (
            "meta_spikeformer_15m",
            {"embed_dims": (16, 16, 32, 32), "img_size": 32, "num_heads": 4, "time_steps": 2},
        ),
    ],
)
def test_recomputed_blocks_train_to_the_same_bits(name, options):
    images = torch.rand(4, *sd.create_model(name, **options).example_input().shape[1:])

    def trained(recompute):
        torch.manual_seed(0)
        model = sd.create_model(name, **options).train()
        model.set_grad_checkpointing(recompute)
        model(images).square().sum().backward()
        return model.state_dict(), [p.grad for p in model.parameters() if p.grad is not None]

    (state, grads), (expected_state, expected_grads) = trained(True), trained(False)
    assert all(
        torch.equal(state[key], expected_state[key]) for key in state
    )  # running statistics counted once
    assert len(grads) > 20 and all(
        torch.equal(a, b) for a, b in zip(grads, expected_grads, strict=True)
    )


def test_masked_pretraining_recomputes_too():
    options = {
        "embed_dims": (16, 16, 32),
        "depths": (1, 1, 1, 1),
        "img_size": 32,
        "num_heads": 4,
        "decoder_depth": 1,
    }

    def trained(recompute):
        torch.manual_seed(0)
        model = sd.create_model("spike_mae_12_512", **options).train()
        model.set_grad_checkpointing(recompute)
        torch.manual_seed(1)
        model(torch.rand(2, 3, 32, 32)).loss.backward()
        return model.state_dict(), [p.grad for p in model.parameters() if p.grad is not None]

    (state, grads), (expected_state, expected_grads) = trained(True), trained(False)
    assert all(torch.equal(state[key], expected_state[key]) for key in state)
    assert grads and all(torch.equal(a, b) for a, b in zip(grads, expected_grads, strict=True))


def test_recomputing_keeps_less():
    def kept(recompute):
        model = sd.create_model("sdt_2_256_cifar", embed_dim=32, depth=4).train()
        model.set_grad_checkpointing(recompute)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.append(x.nbytes) or x, lambda x: x
        ):
            model(torch.rand(2, 3, 32, 32))
        return sum(sizes)

    assert kept(True) < kept(False) / 2
