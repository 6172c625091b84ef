"""The training loop, the same for every task: batches in, optimiser steps, evaluation, checkpoints, exact resume.

What differs per task (model, batches, loss, evaluation) is behind `spikedriven.tasks.Task`. Nothing random outlives a
step: the generators are seeded from (seed, step, rank) at each step, and the data order is a function of (seed, epoch).
So a checkpoint needs no generator states, and a resumed run ends with the same bits on a CPU.
"""

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from spikedriven.data.sections import described
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.tasks import create_task
from spikedriven.training.amp import autocast
from spikedriven.training.checkpoint import Checkpoint, CheckpointStore, load_weights
from spikedriven.training.compact import alphabets, compact_saved
from spikedriven.training.config import Recipe
from spikedriven.training.diagnose import NonFiniteError, first_non_finite
from spikedriven.training.distributed import (
    World,
    average,
    exchange_gradients,
    first_of_all,
    share_buffers,
    wrap_average,
    wrap_model,
)
from spikedriven.training.freeze import freeze, frozen_norms
from spikedriven.training.health import first_batch
from spikedriven.training.memory import keep_memory
from spikedriven.training.meter import Meter
from spikedriven.training.optim import create_optimizer, peak_learning_rate
from spikedriven.training.processes import for_processes, what_changed, with_batch_size
from spikedriven.training.run_folder import prepare_folder
from spikedriven.training.runlog import RunLog
from spikedriven.training.schedule import learning_rate, set_learning_rate
from spikedriven.training.selection import evaluated_on
from spikedriven.training.sharded import full, gathered, optimizer_shares, shares_of, whole
from spikedriven.training.signals import stop_flag
from spikedriven.training.start import start_from


@dataclass
class Counters:
    """How far a run has come: optimiser steps done; the next batch to be read is number `batch` of epoch `epoch`;
    the best figure so far, of so many evaluations."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    evaluations: int = 0


@dataclass(frozen=True)
class Outcome:
    """How `Trainer.fit` ended. `signal_number` is 0 unless it was stopped by that signal; `figures` are the last
    evaluation's."""

    step: int
    signal_number: int
    figures: dict[str, float]


class Trainer:
    """One run in one folder; with `resume` its newest readable checkpoint is continued, if there is one."""

    def __init__(self, recipe: Recipe, run: Path, world: World, *, resume: bool = False) -> None:
        self.run, self.world = run, world
        self.store, self.at = CheckpointStore(run, recipe.run.keep), Counters()
        found = self.store.newest() if resume else None
        self.task = create_task(for_processes(recipe, found, world.size))
        self.loader = self.task.train_loader(world.rank, world.size)
        self.recipe = self.task.recipe
        self.steps_per_epoch = len(self.loader) // recipe.run.accumulation
        if self.steps_per_epoch == 0:
            raise RecipeError(
                f"an epoch has {len(self.loader)} batches, fewer than run.accumulation={recipe.run.accumulation}; "
                "use a smaller run.batch_size or run.accumulation"
            )
        self.figures: dict[str, float] = {}
        if world.is_main:
            prepare_folder(run, with_batch_size(self.recipe, recipe.run.batch_size), resume)
        self._build(fresh=found is None)
        self.changed = what_changed(found, self.recipe, world.size)
        log_position = 0 if found is None else self._restore(*found)
        self.log = RunLog(
            run,
            active=world.is_main,
            total_steps=self.total_steps,
            step=self.at.step,
            position=log_position,
            tensorboard=recipe.run.tensorboard,
        )

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.schedule.total_epochs

    @property
    def global_batch(self) -> int:
        return self.recipe.run.batch_size * self.recipe.run.accumulation * self.world.size

    def fit(self) -> Outcome:
        """Train to the end, to `run.max_steps`, or until a signal asks to stop (a checkpoint is written first)."""
        with stop_flag() as self.stop, self.log.open():
            data = {
                "data": described(self.recipe.data),
                "evaluated_on": evaluated_on(self.recipe.data),
            }
            place = {
                "device": str(self.world.device),
                "heap": self.heap,
                "batch_size": self.recipe.run.batch_size,
            }
            self.log.record("start", self.at.step, processes=self.world.size, **data, **place)
            if self.taken is not None:
                self.log.record("init", self.at.step, **asdict(self.taken))
                self.log.say(f"starting weights: {self.taken}")
            for said in filter(None, (self.changed, self.frozen)):
                self.log.say(said)
            running = True
            while running and self.at.epoch < self.recipe.schedule.total_epochs:
                running = self._train_epoch() and self._finish_epoch()
            self.log.record("stop" if self.stop.signal_number else "end", self.at.step)
        return Outcome(self.at.step, self.stop.signal_number, self.figures)

    def _build(self, fresh: bool) -> None:
        """fresh: there is no checkpoint to continue, so the recipe's starting weights are loaded."""
        run, model = self.recipe.run, self.recipe.model
        self.heap = keep_memory() if self.world.device.type == "cpu" else str(self.world.device)
        torch.manual_seed(run.seed)
        layout = torch.channels_last if run.channels_last else torch.contiguous_format
        # torch's stubs know a device and a memory format only apart
        self.net = self.task.build_model().to(self.world.device, memory_format=layout)  # type: ignore[call-overload]
        if run.recompute:
            self._recompute_blocks()
        self.taken = (
            start_from(self.net, model.init, model.init_strict) if model.init and fresh else None
        )
        self.frozen = freeze(self.net, model.freeze)
        self.ema = (
            ModelEmaV3(self.net, decay=run.ema, use_warmup=run.ema_warmup)
            if run.ema is not None
            else None
        )
        wrap_average(self.ema, self.world, run.parallel)
        self.model = wrap_model(self.net, self.world, run.sync_bn, run.parallel)
        self.still = frozen_norms(self.net, model.freeze)
        self.call = cast(nn.Module, torch.compile(self.model)) if run.compile else self.model
        self.optimizer = create_optimizer(self.net, self.recipe.optim, self.global_batch)
        self.scaler = torch.amp.GradScaler(self.world.device.type, enabled=run.amp == "fp16")
        self.alphabets = alphabets(self.net)
        self.meter = Meter()

    def _recompute_blocks(self) -> None:
        models = [module for module in self.net.modules() if isinstance(module, SpikeDrivenModel)]
        if not models:
            raise RecipeError(
                f"run.recompute: {self.recipe.model.name} is none of this package's networks; set it false"
            )
        for model in models:
            model.set_grad_checkpointing()

    def _train_epoch(self) -> bool:
        """Take the steps that are left of this epoch. False: asked to stop, and a checkpoint is written."""
        run = self.recipe.run
        batches = self.loader.epoch(self.at.epoch, start_batch=self.at.batch)
        self.meter.restart()
        for group in _groups(batches, run.accumulation):
            stop = self._train_step(group)
            if stop or self.at.step == run.max_steps:
                self._save()
                return False
            if (
                self._checkpoint_step_is_due()
                and self.at.batch < self.steps_per_epoch * run.accumulation
            ):
                self._save()  # after the last step of an epoch this is left to _finish_epoch
        return True

    def _checkpoint_step_is_due(self) -> bool:
        every = self.recipe.run.checkpoint_steps
        return every > 0 and self.at.step % every == 0

    def _stop_wish(self) -> float:
        return float(self.stop.signal_number > 0)

    def _finish_epoch(self) -> bool:
        """Evaluate and save what is due. False: asked to stop."""
        run, at = self.recipe.run, self.at
        at.epoch, at.batch = at.epoch + 1, 0
        if self.loader.broken_count:
            self.log.say(
                f"epoch {at.epoch}: {self.loader.broken_count} broken images were passed over"
            )
        last = at.epoch == self.recipe.schedule.total_epochs
        best = self._evaluate() if last or at.epoch % run.eval_epochs == 0 else False
        stop = (
            average(torch.tensor([self._stop_wish()], device=self.world.device), self.world).item()
            > 0
        )
        if (
            stop
            or best
            or last
            or at.epoch % run.checkpoint_epochs == 0
            or self._checkpoint_step_is_due()
        ):
            self._save(best=best)
        if self.world.is_main and self.at.best is not None:
            self.store.count_evaluations(self.at.evaluations)
        return not stop

    def _train_step(self, batches: list[Any]) -> bool:
        """One optimiser step over `accumulation` batches. True: some process was asked to stop."""
        run = self.recipe.run
        position = self.at.epoch + self.at.batch / len(self.loader)
        lr = learning_rate(
            self.recipe.schedule, peak_learning_rate(self.recipe.optim, self.global_batch), position
        )
        set_learning_rate(self.optimizer, lr)
        loss = self._backward(batches)
        self.scaler.unscale_(self.optimizer)
        norm = _clip([p for p in self.net.parameters() if p.grad is not None], run.clip_grad)
        report = torch.stack([loss.double(), loss.new_tensor(self._stop_wish()).double()])
        mean_loss, stop = average(report, self.world).tolist()
        # fp16 gradients may overflow: the scaler then skips the step and lowers its scale
        if not math.isfinite(mean_loss) or not (math.isfinite(norm) or self.scaler.is_enabled()):
            self._give_up(batches, mean_loss, lr)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.at.step, self.at.batch = self.at.step + 1, self.at.batch + len(batches)
        if self.ema is not None:
            self.ema.update(self.net, step=self.at.step)
        self._tell(mean_loss, norm, lr)
        return stop > 0

    def _backward(self, batches: list[Any]) -> Tensor:
        """Gradients of the mean loss over all batches; returns that loss."""
        self._seed_step()
        self.net.train()
        for norm in self.still:
            norm.eval()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for index, batch in enumerate(batches):
            with exchange_gradients(self.model, wanted=index == len(batches) - 1):
                with self._autocast(), self._saving():
                    loss = self.task.loss(self.call, _to(batch, self.world.device)) / len(batches)
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _seed_step(self) -> None:
        torch.manual_seed(derive_seed(self.recipe.run.seed, "step", self.at.step, self.world.rank))

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.recipe.run.amp, self.world.device)

    def _saving(self) -> AbstractContextManager[Any]:
        """How tensors are kept for the backward pass. A compiled graph keeps its own."""
        return (
            compact_saved(self.alphabets)
            if self.recipe.run.compact and not self.recipe.run.compile
            else nullcontext()
        )

    def _evaluate(self) -> bool:
        """Evaluate the averaged weights where the run keeps them, else the trained ones. True: better than ever
        before."""
        model = self.net if self.ema is None else self.ema.module
        share_buffers(model, self.world)
        model.eval()
        with whole(model), torch.inference_mode(), self._autocast(), first_batch(model) as firing:
            self.figures = self.task.evaluate(model, self.world)
        self.log.record("eval", self.at.step, epoch=self.at.epoch, **self.figures)
        self.at.evaluations += 1
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        self.log.say(f"epoch {self.at.epoch}/{self.recipe.schedule.total_epochs}: {shown}")
        firing.tell(self.log, self.at.step, self.at.epoch)
        value = self.figures[self.task.metric]
        better = self.at.best is None or value > self.at.best
        self.at.best = value if better else self.at.best
        return better

    def _save(self, best: bool = False) -> None:
        model, optimizer = gathered(self.net.state_dict()), gathered(self.optimizer.state_dict())
        ema = None if self.ema is None else gathered(self.ema.module.state_dict())
        if not self.world.is_main:
            return
        self.log.record("checkpoint", self.at.step)
        state = {
            "counters": asdict(self.at),
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "log_position": self.log.position(),
            "processes": self.world.size,
            "batch_size": self.recipe.run.batch_size,
            "evaluated_on": evaluated_on(self.recipe.data),
        }
        self.store.save(self.at.step, Checkpoint(model, ema, state))
        if best:
            assert self.at.best is not None
            self.store.mark_best(
                self.at.step, self.task.metric, self.at.best, **evaluated_on(self.recipe.data)
            )
        self.meter.restart()

    def _restore(self, path: Path, checkpoint: Checkpoint) -> int:
        """Continue a checkpoint; returns how long the log was then."""
        try:
            return self._take_over(path, checkpoint)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: its state does not fit this run ({type(error).__name__}: {error}). Was it written by "
                "another version? `model.init` takes its weights alone"
            ) from error

    def _take_over(self, path: Path, checkpoint: Checkpoint) -> int:
        state = checkpoint.state
        load_weights(self.net, shares_of(checkpoint.model, self.net), path)
        if self.ema is not None:
            if checkpoint.ema is None:
                raise CheckpointError(
                    f"{path}: run.ema is on but the checkpoint has no averaged weights; switch run.ema off"
                )
            load_weights(self.ema.module, shares_of(checkpoint.ema, self.ema.module), path)
        self.optimizer.load_state_dict(optimizer_shares(state["optimizer"], self.optimizer))
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.at = Counters(**state["counters"])
        return state["log_position"]

    def _give_up(self, batches: list[Any], loss: float, lr: float) -> None:
        def forward() -> None:
            self._seed_step()
            with self._autocast():
                for batch in batches:
                    self.task.loss(self.net, _to(batch, self.world.device))

        found = (
            first_of_all(first_non_finite(self.net, forward, batches), self.world)
            or "every module's output is finite"
        )
        good = next(iter(self.store.paths()), None)
        raise NonFiniteError(
            f"step {self.at.step} (epoch {self.at.epoch}, batch {self.at.batch}): the loss is {loss} at learning rate "
            f"{lr:.3g}; {found}. Last good checkpoint: {good or 'none yet'}. Try a lower learning rate, "
            "run.clip_grad, or run.amp none, and continue with --resume"
        )

    def _tell(self, loss: float, norm: float, lr: float) -> None:
        self.meter.add(loss, self.global_batch)
        rate, left = self.meter.rate(), self.meter.seconds_left(self.total_steps - self.at.step)
        figures = f"loss {self.meter.loss():.4f}  lr {lr:.2e}  {rate:.0f} samples/s"
        self.log.advance(self.at.step, figures)
        if self.at.step % self.recipe.run.log_steps:
            return
        self.log.record(
            "train",
            self.at.step,
            epoch=self.at.epoch,
            loss=self.meter.loss(),
            grad_norm=norm,
            lr=lr,
            samples_per_s=rate,
            time=time.time(),
        )
        if not self.log.is_terminal:
            total = self.recipe.schedule.total_epochs
            self.log.say(
                f"epoch {self.at.epoch + 1}/{total}  step {self.at.step}/{self.total_steps}  {figures}  "
                f"{left:.0f} s left"
            )
        self.meter.start_window()


def exit_status(outcome: Outcome) -> int:
    """What a shell expects: 0, or 128 + the signal that stopped the run (130 Ctrl-C, 143 SIGTERM)."""
    return 128 + signal.Signals(outcome.signal_number) if outcome.signal_number else 0


def _groups(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` batches; a shorter rest is dropped, as the data loader drops a shorter last batch."""
    group: list[Any] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []


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
