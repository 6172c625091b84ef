"""The training loop, the same for every task: batches in, optimiser steps, evaluation, checkpoints,
exact resume.

What differs per task (model, batches, loss, evaluation) is behind `spikedriven.tasks.Task`. Nothing
random outlives a step: the generators are seeded from (seed, step, rank) at each step, and the data
order is a function of (seed, epoch). So a checkpoint needs no generator states, and a resumed run
ends with the same bits on a CPU.
"""

import math
import shlex
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spikedriven.data.record import record_of
from spikedriven.data.sections import described
from spikedriven.data.seeding import derive_seed
from spikedriven.errors import CheckpointError, RecipeError
from spikedriven.recipes.types import Recipe
from spikedriven.runs.average import early_average
from spikedriven.runs.checkpoint import Checkpoint, CheckpointStore
from spikedriven.runs.claim import Claim
from spikedriven.runs.distributed import (
    World,
    average,
    first_of_all,
    share_buffers,
)
from spikedriven.runs.folder import prepare_folder, with_absolute_paths
from spikedriven.runs.log import RunLog
from spikedriven.runs.processes import for_processes, what_changed, with_batch_size
from spikedriven.runs.selection import evaluated_on
from spikedriven.runs.sharded import whole
from spikedriven.tasks import create_task
from spikedriven.training.amp import settle
from spikedriven.training.diagnose import NonFiniteError, first_non_finite
from spikedriven.training.health import first_batch
from spikedriven.training.learner import Learner
from spikedriven.training.memory import keep_memory
from spikedriven.training.meter import Meter
from spikedriven.training.quantize import quantized_network
from spikedriven.training.signals import stop_flag


@dataclass
class Counters:
    """How far a run has come: optimiser steps done; the next batch to be read is number `batch` of
    epoch `epoch`; the best figure so far, of so many evaluations.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    evaluations: int = 0


@dataclass(frozen=True)
class Outcome:
    """How `Trainer.fit` ended. `signal_number` is 0 unless it was stopped by that signal; `figures`
    are the last evaluation's.
    """

    step: int
    signal_number: int
    figures: dict[str, float]


class Trainer:
    """One run in one folder; with `resume` its newest readable checkpoint is continued, if
    there is one.
    """

    def __init__(self, recipe: Recipe, run: Path, world: World, *, resume: bool = False) -> None:
        recipe, self.precision = settle(with_absolute_paths(recipe), run, world, resume)
        self.world, self.claim = world, Claim(run)
        self.store, self.at = CheckpointStore(run, recipe.run.keep), Counters()
        if world.is_main and run.is_dir():
            self.claim.take()
        found = self.store.newest() if resume else None
        self.task = create_task(for_processes(recipe, found, world.size))
        self.loader = self.task.train_loader(world.rank, world.size)
        self.recipe = self.task.recipe
        self.steps_per_epoch = len(self.loader) // recipe.run.accumulation
        if self.steps_per_epoch == 0:
            raise RecipeError(
                f"an epoch has {len(self.loader)} batches, fewer than "
                f"run.accumulation={recipe.run.accumulation}; "
                "use a smaller run.batch_size or run.accumulation"
            )
        self.figures: dict[str, float] = {}
        if world.is_main:
            self.claim.take()
            dataset = getattr(
                self.loader, "dataset", None
            )  # a task of a plugin's own may have none
            data = None if dataset is None else record_of(self.recipe.data, dataset)
            prepare_folder(run, with_batch_size(self.recipe, recipe.run.batch_size), resume, data)
        self.heap = keep_memory() if world.device.type == "cpu" else str(world.device)
        torch.manual_seed(recipe.run.seed)
        self.learner = self._learner(run, fresh=found is None)
        self.changed = what_changed(found, self.recipe, world.size)
        log_position = 0 if found is None else self._restore(*found)
        self.meter = Meter()
        self.log = RunLog(
            run,
            active=world.is_main,
            total_steps=self.total_steps,
            step=self.at.step,
            position=log_position,
            tensorboard=recipe.run.tensorboard,
        )

    def _learner(self, run: Path, fresh: bool) -> Learner:
        net = self.task.build_model()
        if self.recipe.quant.bits is None:
            return Learner(self.recipe, net, self.world, fresh=fresh)
        net, taken = quantized_network(net, self.recipe, run, self.world, fresh=fresh)
        learner = Learner(self.recipe, net, self.world, fresh=False)
        learner.taken = taken
        return learner

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.schedule.total_epochs

    def fit(self) -> Outcome:
        """Train to the end, to `run.max_steps`, or until a signal asks to stop (a checkpoint is
        written first).
        """
        with stop_flag() as self.stop, closing(self.claim), self.log.open():
            data = {
                "data": described(self.recipe.data),
                "evaluated_on": evaluated_on(self.recipe.data),
            }
            place = {
                "device": str(self.world.device),
                "heap": self.heap,
                "batch_size": self.recipe.run.batch_size,
            }
            used = self.loader.usage() if self.world.is_main else ""
            data |= {"used": used} if used else {}
            self.log.record("start", self.at.step, processes=self.world.size, **data, **place)
            taken = self.learner.taken
            if taken is not None:
                self.log.record("init", self.at.step, **asdict(taken))
                self.log.say(f"starting weights: {taken}")
            for said in filter(None, (used, self.precision, self.changed, self.learner.frozen)):
                self.log.say(said)
            running = True
            while running and self.at.epoch < self.recipe.schedule.total_epochs:
                running = self._train_epoch() and self._finish_epoch()
            self.log.record("stop" if self.stop.signal_number else "end", self.at.step)
        return Outcome(self.at.step, self.stop.signal_number, self.figures)

    def save_untrained(self) -> dict[str, float]:
        """Evaluate the network as it stands and write it as the run's checkpoint; returns the
        figures.
        """
        with closing(self.claim), self.log.open():
            better = self._evaluate()
            self._save(best=better)
        return self.figures

    def _train_epoch(self) -> bool:
        """Take the steps that are left of this epoch. False: asked to stop, and a checkpoint is
        written.
        """
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
        self._seed_step()
        lr = self.learner.set_learning_rate(self.at.epoch + self.at.batch / len(self.loader))
        loss, norm = self.learner.gradients(self.task.loss, batches)
        report = torch.stack([loss.double(), loss.new_tensor(self._stop_wish()).double()])
        mean_loss, stop = average(report, self.world).tolist()
        # fp16 gradients may overflow: the scaler then skips the step and lowers its scale
        if not math.isfinite(mean_loss) or not (
            math.isfinite(norm) or self.learner.scaler.is_enabled()
        ):
            self._give_up(batches, mean_loss, lr)
        self.at.step, self.at.batch = self.at.step + 1, self.at.batch + len(batches)
        self.learner.step(self.at.step)
        self._tell(mean_loss, norm, lr)
        return stop > 0

    def _seed_step(self) -> None:
        torch.manual_seed(derive_seed(self.recipe.run.seed, "step", self.at.step, self.world.rank))

    def _evaluate(self) -> bool:
        """Evaluate the averaged weights where the run keeps them, else the trained ones. True:
        better than ever before.
        """
        model = self.learner.averaged
        share_buffers(model, self.world)
        model.eval()
        with (
            whole(model),
            torch.inference_mode(),
            self.learner.autocast(),
            first_batch(model) as firing,
        ):
            self.figures = self.task.evaluate(model, self.world)
        self.log.record("eval", self.at.step, epoch=self.at.epoch, **self.figures)
        self.at.evaluations += 1
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        self.log.say(f"epoch {self.at.epoch}/{self.recipe.schedule.total_epochs}: {shown}")
        if said := early_average(self.recipe, self.at.step):
            self.log.say(said)
        firing.tell(self.log, self.at.step, self.at.epoch)
        value = self.figures[self.task.metric]
        better = self.at.best is None or value > self.at.best
        self.at.best = value if better else self.at.best
        return better

    def _save(self, best: bool = False) -> None:
        held = self.learner.gathered()
        if held is None:
            return
        self.claim.check()
        self.log.record("checkpoint", self.at.step)
        state = {
            "counters": asdict(self.at),
            "optimizer": held.optimizer,
            "scaler": self.learner.scaler.state_dict(),
            "log_position": self.log.position(),
            "processes": self.world.size,
            "batch_size": self.recipe.run.batch_size,
            "evaluated_on": evaluated_on(self.recipe.data),
        }
        self.store.save(self.at.step, Checkpoint(held.model, held.ema, state))
        if best:
            assert self.at.best is not None
            self.store.mark_best(
                self.at.step, self.task.metric, self.at.best, **evaluated_on(self.recipe.data)
            )
        self.meter.restart()

    def _restore(self, path: Path, checkpoint: Checkpoint) -> int:
        """Continue a checkpoint; returns how long the log was then."""
        try:
            self.learner.restore(path, checkpoint)
            self.at = Counters(**checkpoint.state["counters"])
            return checkpoint.state["log_position"]
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: its state does not fit this run ({type(error).__name__}: {error}). Was "
                "it written by "
                "another version? `model.init` takes its weights alone"
            ) from error

    def _give_up(self, batches: list[Any], loss: float, lr: float) -> None:
        def forward() -> None:
            self._seed_step()
            self.learner.forward(self.task.loss, batches)

        found = (
            first_of_all(first_non_finite(self.learner.net, forward, batches), self.world)
            or "every module's output is finite"
        )
        good = next(iter(self.store.paths()), None)
        anew = "" if good is None else f" that begins there: --model.init {shlex.quote(str(good))}"
        raise NonFiniteError(
            f"step {self.at.step} (epoch {self.at.epoch}, batch {self.at.batch}): the loss is "
            f"{loss} at learning rate "
            f"{lr:.3g}; {found}. Last good checkpoint: {good or 'none yet'}. Try a lower "
            "--optim.lr, "
            f"--run.clip-grad 1 or --run.amp none, in a new run{anew}"
        )

    def _tell(self, loss: float, norm: float, lr: float) -> None:
        self.meter.add(loss, self.learner.global_batch)
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
                f"epoch {self.at.epoch + 1}/{total}  step {self.at.step}/{self.total_steps}  "
                f"{figures}  "
                f"{left:.0f} s left"
            )
        self.meter.start_window()


def exit_status(outcome: Outcome) -> int:
    """What a shell expects: 0, or 128 + the signal that stopped the run (130 Ctrl-C, 143
    SIGTERM).
    """
    return 128 + signal.Signals(outcome.signal_number) if outcome.signal_number else 0


def _groups(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` batches; a shorter rest is dropped, as the data loader drops a shorter
    last batch.
    """
    group: list[Any] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
