"""FSDP2 with one process: blocks, whole tensors and shares of them, refusals. Two processes:
see end_to_end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

import spikedriven as sd
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.recipes.types import RunConfig
from spikedriven.runs.checkpoint import load_weights
from spikedriven.runs.sharded import (
    _blocks,
    full,
    gathered,
    optimizer_shares,
    shard,
    shares_of,
    whole,
)
from spikedriven.training.diagnose import first_non_finite
from tests.networks import live_input, live_model, shrunk

NAME = "sdt_2_256_cifar"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def sharded(**keywords) -> tuple[torch.nn.Module, torch.nn.Module]:
    """(plain, sharded) network with equal weights."""
    plain, model = (live_model(NAME, **shrunk(NAME), **keywords) for _ in range(2))
    return plain, shard(model, 1, torch.device("cpu"))


@pytest.mark.parametrize("name", sd.list_models())
def test_blocks_hold_most_of_a_network_and_do_not_overlap(name: str):
    with torch.device("meta"):
        model = sd.create_model(name)
    blocks = _blocks(model)
    ids = [id(parameter) for block in blocks for parameter in block.parameters()]
    assert len(ids) == len(set(ids))
    inside = sum(parameter.numel() for block in blocks for parameter in block.parameters())
    assert inside > 0.5 * sum(parameter.numel() for parameter in model.parameters())


def test_the_same_function_also_while_whole():
    plain, model = sharded()
    x = live_input(plain)
    assert all(isinstance(p, DTensor) for p in model.parameters()) and isinstance(
        model.blocks[0], FSDPModule
    )
    assert torch.equal(model(x), plain(x))
    with whole(model):
        with torch.inference_mode():
            assert torch.equal(model(x), plain(x))
        assert not any(isinstance(p, DTensor) for p in model.parameters()), (
            "given back after a forward pass"
        )
    assert all(isinstance(p, DTensor) for p in model.parameters())
    model(x).sum().backward()
    plain(x).sum().backward()
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(full(b.grad), a.grad, rtol=1e-10, atol=1e-12)


def test_whole_tensors_and_back():
    plain, model = sharded()
    weights = gathered(model.state_dict())
    assert weights.keys() == plain.state_dict().keys()
    assert all(
        type(weights[key]) is torch.Tensor and torch.equal(weights[key], v)
        for key, v in plain.state_dict().items()
    )
    rest = gathered(model.state_dict(), keep=False)
    shares = [key for key, value in model.state_dict().items() if isinstance(value, DTensor)]
    assert shares and all(rest[key] is None for key in shares), "one process holds the whole"
    changed = {key: value + 1 for key, value in weights.items()}
    load_weights(model, shares_of(changed, model), Path("x"))
    assert all(
        torch.equal(gathered(model.state_dict())[key], value) for key, value in changed.items()
    )


def test_the_state_of_an_optimiser_and_back():
    plain, model = sharded()
    states = []
    for net in (plain, model):
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        net(live_input(plain)).sum().backward()
        optimizer.step()
        states.append((optimizer, gathered(optimizer.state_dict())))
    (_, expected), (optimizer, found) = states
    assert (
        expected["param_groups"] == found["param_groups"]
        and found["state"].keys() == expected["state"].keys()
    )
    optimizer.load_state_dict(optimizer_shares(expected, optimizer))
    for index, moments in gathered(optimizer.state_dict())["state"].items():
        assert all(
            torch.equal(value, expected["state"][index][key]) for key, value in moments.items()
        )


def test_weights_of_another_shape_are_still_refused():
    plain, model = sharded()
    wrong = {**plain.state_dict(), "head.weight": torch.zeros(3, 3, dtype=torch.float64)}
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        load_weights(model, shares_of(wrong, model), Path("x"))


def test_a_non_finite_weight_is_named():
    plain, model = sharded()
    assert first_non_finite(model, lambda: model(live_input(plain))) is None
    with torch.no_grad():
        model.blocks[0].mlp.fc1.project.conv.weight.mul_(float("nan"))
    found = first_non_finite(model, lambda: model(live_input(plain)))
    assert (
        found
        == "parameter blocks.0.mlp.fc1.project.conv.weight is already non-finite before this step"
    )


def test_learnt_time_constants_are_refused():
    with pytest.raises(RecipeError, match=r"run\.parallel=fsdp: .*w.*single numbers.*ddp"):
        sharded(neuron="plif")


def test_compiling_is_refused():
    with pytest.raises(RecipeError, match=r"run\.parallel=fsdp: not offered with run\.compile"):
        RunConfig(parallel="fsdp", compile=True)
