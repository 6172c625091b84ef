"""FSDP2 (`run.parallel: fsdp`): each process keeps its share of weights, gradients and optimiser
state.

The blocks of a network are sharded one by one and the rest together with its root (Zhao et al.,
VLDB 2023, and torch's `fully_shard`): a block's weights are gathered before it runs and given back
after it. What is computed is what DistributedDataParallel computes, up to the order of summation.
Checkpoints hold whole tensors under the usual names, so nothing that reads them knows how a run was
spread.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from spikedriven.errors import RecipeError
from spikedriven.models.spike_mae import SparseStage


def shard(model: nn.Module, size: int, device: torch.device) -> nn.Module:
    """Spread the parameters of `model`, equal at all `size` processes, over them; in place, and
    returned.
    """
    scalars = {name: p for name, p in model.named_parameters() if p.ndim == 0}
    trained = [name for name, p in scalars.items() if p.requires_grad]
    if trained:
        raise RecipeError(
            f"run.parallel=fsdp: {', '.join(trained[:3])} ({len(trained)} in all) are single "
            "numbers, which FSDP2 "
            "cannot spread; use --run.parallel ddp (neurons with a learnt time constant have them)"
        )
    mesh = init_device_mesh(device.type, (size,))
    for block in _blocks(model):
        fully_shard(
            block, mesh=mesh, reshard_after_forward=True, ignored_params=set(scalars.values())
        )
    fully_shard(model, mesh=mesh, reshard_after_forward=False, ignored_params=set(scalars.values()))
    return model


def _blocks(model: nn.Module) -> list[nn.Module]:
    """What is gathered and given back at a time: modules that are called as a whole, the
    members of `blocks`.
    """
    found: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, SparseStage):
            found.append(module)  # calls its blocks part by part
            continue
        blocks = getattr(module, "blocks", None)
        if isinstance(blocks, nn.Sequential | nn.ModuleList):
            found += list(blocks)
    return found


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Gather all parameters for a while: within, forward passes need no other process, so that each
    may make as many as it has batches. Outside `inference_mode` only. Does nothing for a network
    that is not sharded.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def gathered(tree: Any, keep: bool = True) -> Any:
    """A state dict, however nested, with whole tensors on the CPU in place of shares.

    All processes must call it. keep: of this process; the others take part tensor by tensor and get
    None in place of each share, so that only one process holds the whole.
    """
    if isinstance(tree, DTensor):
        whole_tensor = tree.full_tensor()
        return whole_tensor.cpu() if keep else None
    if isinstance(tree, Mapping):
        return {key: gathered(value, keep) for key, value in tree.items()}
    return [gathered(value, keep) for value in tree] if isinstance(tree, list) else tree


def shares_of(weights: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Whole weights as shares for `load_state_dict` of a sharded model; for any other model as
    they are.
    """
    own = model.state_dict()
    return {name: _share(value, own.get(name)) for name, value in weights.items()}


def optimizer_shares(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The same for the state dict of an optimiser, whose moments have the shapes of the
    parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    spread = {
        index: {
            name: _share(value, parameters[index])
            if isinstance(value, Tensor) and value.ndim
            else value
            for name, value in moments.items()
        }
        for index, moments in state["state"].items()
    }
    return {**state, "state": spread}


def full(value: Tensor) -> Tensor:
    """A tensor that is spread over the processes as a whole one, any other as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _share(value: Tensor, like: Any) -> Tensor:
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value  # a wrong shape is for load_state_dict to complain about
    return distribute_tensor(
        value.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
