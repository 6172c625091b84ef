"""What is trained, and how one step changes it: the network, its running average, optimiser and
gradient scaler.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.official import LoadReport
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import Checkpoint, load_weights
from spikedriven.runs.distributed import World, exchange_gradients, wrap_average, wrap_model
from spikedriven.runs.sharded import full, gathered, optimizer_shares, shares_of
from spikedriven.runs.start import check_told, start_from
from spikedriven.training.amp import autocast
from spikedriven.training.compact import alphabets, compact_saved
from spikedriven.training.freeze import freeze, frozen_norms
from spikedriven.training.optim import create_optimizer, peak_learning_rate
from spikedriven.training.schedule import learning_rate, set_learning_rate

#: (network, batch) -> the mean loss of the batch.
Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class Held:
    """All that a checkpoint keeps of a learner, on the CPU."""

    model: dict[str, Any]
    ema: dict[str, Any] | None
    optimizer: dict[str, Any]


class Learner:
    """A network under training on one device, or its share of one.

    net: the network itself. ema: its running average, or None. taken: what its starting weights
    gave, or None. frozen: which parts do not learn, as text, or None.
    """

    def __init__(self, recipe: Recipe, net: nn.Module, world: World, *, fresh: bool) -> None:
        """fresh: there is no checkpoint to continue, so the recipe's starting weights are
        loaded.
        """
        run, model = recipe.run, recipe.model
        self.recipe, self.world = recipe, world
        layout = torch.channels_last if run.channels_last else torch.contiguous_format
        # torch's stubs know a device and a memory format only apart
        self.net: nn.Module = net.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        if run.recompute:
            _recompute_blocks(self.net, model.name)
        self.taken = started(self.net, recipe, model.init) if fresh and model.init else None
        self.frozen = freeze(self.net, model.freeze)
        self.ema = (
            ModelEmaV3(self.net, decay=run.ema, use_warmup=run.ema_warmup)
            if run.ema is not None
            else None
        )
        wrap_average(self.ema, world, run.parallel)
        self._shared = wrap_model(self.net, world, run.sync_bn, run.parallel)
        self._still = frozen_norms(self.net, model.freeze)
        self._called = cast(nn.Module, torch.compile(self._shared)) if run.compile else self._shared
        self.optimizer = create_optimizer(self.net, recipe.optim, self.global_batch)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=run.amp == "fp16")
        self._alphabets = alphabets(self.net)

    @property
    def global_batch(self) -> int:
        """Samples of one step, of all processes."""
        return self.recipe.run.batch_size * self.recipe.run.accumulation * self.world.size

    @property
    def averaged(self) -> nn.Module:
        """The averaged network where the run keeps one, else the trained one."""
        return self.net if self.ema is None else self.ema.module

    def autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.recipe.run.amp, self.world.device)

    # A step
    # -------------------------------------------------------------------------------------------

    def set_learning_rate(self, epoch: float) -> float:
        """The schedule's learning rate at a moment, in epochs, for the optimiser; returns it."""
        lr = learning_rate(
            self.recipe.schedule, peak_learning_rate(self.recipe.optim, self.global_batch), epoch
        )
        set_learning_rate(self.optimizer, lr)
        return lr

    def gradients(self, loss_of: Loss, batches: list[Any]) -> tuple[Tensor, float]:
        """Gradients of the mean loss over all batches, clipped; returns that loss and the norm
        before clipping.
        """
        self.net.train()
        for norm in self._still:
            norm.eval()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for index, batch in enumerate(batches):
            with exchange_gradients(self._shared, wanted=index == len(batches) - 1):
                with self.autocast(), self._saving():
                    loss = loss_of(self._called, _to(batch, self.world.device)) / len(batches)
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.scaler.unscale_(self.optimizer)
        given = [p for p in self.net.parameters() if p.grad is not None]
        return torch.stack(losses).sum(), _clip(given, self.recipe.run.clip_grad)

    def forward(self, loss_of: Loss, batches: list[Any]) -> None:
        """The forward passes of a step alone, to see where something goes wrong."""
        with self.autocast():
            for batch in batches:
                loss_of(self.net, _to(batch, self.world.device))

    def step(self, number: int) -> None:
        """Take the step that the gradients ask for. number: of steps taken, this one included."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.net, step=number)

    def _saving(self) -> AbstractContextManager[Any]:
        """How tensors are kept for the backward pass. A compiled graph keeps its own."""
        run = self.recipe.run
        return compact_saved(self._alphabets) if run.compact and not run.compile else nullcontext()

    # Checkpoints
    # --------------------------------------------------------------------------------------

    def gathered(self) -> Held | None:
        """The whole of what the processes hold shares of; None on all but the main process."""
        main = self.world.is_main
        model = gathered(self.net.state_dict(), keep=main)
        optimizer = gathered(self.optimizer.state_dict(), keep=main)
        ema = None if self.ema is None else gathered(self.ema.module.state_dict(), keep=main)
        return Held(model, ema, optimizer) if main else None

    def restore(self, path: Path, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint. path: where it lies, for errors."""
        load_weights(self.net, shares_of(checkpoint.model, self.net), path)
        if self.ema is not None:
            if checkpoint.ema is None:
                raise CheckpointError(
                    f"{path}: run.ema is on but the checkpoint has no averaged weights; leave it "
                    "as the run had it"
                )
            load_weights(self.ema.module, shares_of(checkpoint.ema, self.ema.module), path)
        self.optimizer.load_state_dict(
            optimizer_shares(checkpoint.state["optimizer"], self.optimizer)
        )
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(checkpoint.state["scaler"])


def started(net: nn.Module, recipe: Recipe, weights: str) -> LoadReport:
    """Load the recipe's starting weights."""
    check_told(recipe)
    return start_from(net, weights, recipe.model.init_strict)


def _recompute_blocks(net: nn.Module, name: str) -> None:
    models = [module for module in net.modules() if isinstance(module, SpikeDrivenModel)]
    if not models:
        raise RecipeError(
            f"run.recompute: {name} is none of this package's networks; leave --run.recompute out"
        )
    for model in models:
        model.set_grad_checkpointing()


def _clip(parameters: list[nn.Parameter], largest: float | None) -> float:
    """Clip the global gradient norm in place; returns what it was."""
    limit = math.inf if largest is None else largest
    return float(full(nn.utils.clip_grad_norm_(parameters, limit)))


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: _to(item, device) for name, item in batch.items()}
    return type(batch)(_to(item, device) for item in batch)
