"""One process or several: what torchrun's environment says, and the few exchanges the loop
needs.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from spikedriven.errors import RecipeError, SpikedrivenError
from spikedriven.runs.device import choose_device
from spikedriven.runs.sharded import shard


@dataclass(frozen=True)
class World:
    """This process among all. `rank` 0 is the only one that writes files and talks to the
    terminal.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


class LostProcessError(SpikedrivenError):
    """Another process of the run has died, or did not answer in time."""


@contextmanager
def open_world(device: str = "auto", timeout_s: float = 1800.0) -> Iterator[World]:
    """Join the other processes if torchrun started us (RANK and WORLD_SIZE are set), else be alone.
    nccl on GPUs, gloo on CPUs. timeout_s: how long an exchange waits for the other processes before
    it is a LostProcessError.
    """
    use_cuda = choose_device(device) == "cuda"
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    place = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if use_cuda
        else torch.device("cpu")
    )
    if use_cuda:
        torch.cuda.set_device(place)
    if size == 1:
        yield World(0, 1, place)
        return
    dist.init_process_group("nccl" if use_cuda else "gloo", timeout=timedelta(seconds=timeout_s))
    world = World(rank, size, place)
    try:
        with _explain_lost_process(world):
            yield world
    finally:
        dist.destroy_process_group()


@contextmanager
def _explain_lost_process(world: World) -> Iterator[None]:
    """Turn a failed exchange with the other processes into a LostProcessError that says what to
    do.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_lost_exchange(error):
            raise
        raise LostProcessError(
            f"process {world.rank} of {world.size}: another process of the run has died, or did "
            "not answer within "
            f"run.timeout_s ({_reason(error)}). Its own message, if it had any, stands above or in "
            "its node's log. "
            "Checkpoints are intact; start all processes again with --resume"
        ) from error


def _is_lost_exchange(error: RuntimeError) -> bool:
    """nccl, and gloo's first contact, have classes of their own; gloo's later failures have
    only a text.
    """
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def _reason(error: RuntimeError) -> str:
    """What happened, without the source line before it and the advice behind it."""
    return re.sub(r"^\[[^]]*]\s*", "", str(error).splitlines()[0]).split(". This is typically")[0]


def wrap_model(model: nn.Module, world: World, sync_bn: bool, parallel: str = "ddp") -> nn.Module:
    """The model as it is when alone, else under DistributedDataParallel, or (parallel "fsdp")
    sharded in place. Without `sync_bn` each process normalises with the statistics of its own part
    of the batch, and rank 0's running statistics are the ones kept.
    """
    if sync_bn and world.device.type != "cuda":
        raise RecipeError(
            "run.sync_bn: PyTorch's SyncBatchNorm needs GPUs; switch it off with --run.no-sync-bn"
        )
    if world.size == 1:
        return model
    if sync_bn:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if parallel == "fsdp":
        return shard(model, world.size, world.device)
    wrapped = DistributedDataParallel(
        model, device_ids=[world.device.index] if world.device.type == "cuda" else None
    )
    if world.device.type == "cpu":
        wrapped.register_comm_hook(None, _mean_of_each_gradient)
    return wrapped


def _mean_of_each_gradient(_state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """The mean over the processes, tensor by tensor, so that a resumed run adds in the same order.

    A ring adds each part of a buffer in another order of ranks, and after its first step
    DistributedDataParallel deals the gradients out to its buckets anew: with more than two
    processes the step after a restart would round otherwise.
    """
    sums = [
        dist.all_reduce(gradient, async_op=True).get_future() for gradient in bucket.gradients()
    ]
    mean = bucket.buffer()
    return torch.futures.collect_all(sums).then(lambda _: mean.div_(dist.get_world_size()))


def wrap_average(average: ModelEmaV3 | None, world: World, parallel: str) -> None:
    """Spread the averaged weights as the model's are, in place."""
    if average is not None and parallel == "fsdp" and world.size > 1:
        shard(average.module, world.size, world.device)
        average.foreach = False  # buffers are whole and weights are shares: not one list


def exchange_gradients(model: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    """Whether a backward pass within it ends with the mean over the processes; those before the
    last one of an accumulation need not.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(wanted)
    return (
        model.no_sync()
        if isinstance(model, DistributedDataParallel) and not wanted
        else nullcontext()
    )


def average(values: Tensor, world: World) -> Tensor:
    """Element-wise mean over the processes."""
    if world.size > 1:
        dist.all_reduce(values)
        values /= world.size
    return values


def total(values: Tensor, world: World) -> Tensor:
    """Element-wise sum over the processes."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def share_buffers(model: nn.Module, world: World) -> None:
    """Give every process rank 0's buffers (BN running statistics), so that all evaluate one and
    the same network.
    """
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def gather(value: Any, world: World) -> list[Any]:
    """Every process's value, in the order of ranks, at every process."""
    values: list[Any] = [value]
    if world.size > 1:
        values = [None] * world.size
        dist.all_gather_object(values, value)
    return values


def first_of_all(text: str | None, world: World) -> str | None:
    """The first process's text that is not None, at every process."""
    return next((found for found in gather(text, world) if found is not None), None)
