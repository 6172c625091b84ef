"""Which runs the studies consist of, and what a finished run says about itself."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Arm:
    """One recipe of a study. needs: recipe whose run of the same seed comes first; its folder
    is given as `option`.
    """

    recipe: str
    needs: str | None = None
    option: str | None = None
    own_labels: bool = False
    """Which tenth of the labels is used depends on the seed."""


ARMS = {
    arm.recipe: arm
    for arm in (
        Arm("study_lif_t4"),
        Arm("study_lif_t1"),
        Arm("study_lif_t1_to_t4", "study_lif_t1", "--model.init"),
        Arm("study_sfa_1x4"),
        Arm("study_mae_pretrain"),
        Arm("study_mae_finetune", "study_mae_pretrain", "--model.init", own_labels=True),
        Arm("study_mae_scratch", own_labels=True),
        Arm("study_mae_scratch_long", own_labels=True),
        Arm("study_teacher_cnn"),
        Arm("study_distil_hard", "study_teacher_cnn", "--distill.teacher"),
        Arm("study_distil_soft", "study_teacher_cnn", "--distill.teacher"),
        Arm("study_events_sdt_direction"),
        Arm("study_events_sdt_direction_shuffled"),
        Arm("study_events_esf_direction"),
        Arm("study_events_esf_direction_lif"),
        Arm("study_events_sdt_garment"),
        Arm("study_events_esf_garment"),
    )
}


@dataclass(frozen=True)
class Job:
    """One run: an arm with a seed, in the folder `runs`/RECIPE_sSEED."""

    arm: Arm
    seed: int
    runs: Path

    @property
    def folder(self) -> Path:
        return self.runs / f"{self.arm.recipe}_s{self.seed}"

    @property
    def before(self) -> "Job | None":
        return None if self.arm.needs is None else Job(ARMS[self.arm.needs], self.seed, self.runs)

    def command(self, extra: list[str]) -> list[str]:
        """Starts or continues the run; extra: further options of `spikedriven train`."""
        words = [
            "train",
            self.arm.recipe,
            "--run.out",
            str(self.folder),
            "--run.seed",
            str(self.seed),
            "--resume",
        ]
        if self.before is not None:
            assert self.arm.option is not None
            words += [self.arm.option, str(self.before.folder)]
        if self.arm.own_labels:
            words += ["--data.train-fraction-seed", str(self.seed)]
        return [sys.executable, "-m", "spikedriven", *words, *extra]

    def records(self) -> list[dict[str, Any]]:
        log = self.folder / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []

    def is_finished(self) -> bool:
        records = self.records()
        return bool(records) and records[-1]["kind"] == "end"

    def result(self) -> dict[str, Any]:
        """Figures of the last evaluation, the last logged training loss, and the time spent in
        training steps.
        """
        records = self.records()
        training = [record for record in records if record["kind"] == "train"]
        last = [record for record in records if record["kind"] == "eval"][-1]
        figures = {
            key: value for key, value in last.items() if key not in ("kind", "step", "epoch")
        }
        return {
            "recipe": self.arm.recipe,
            "seed": self.seed,
            "steps": last["step"],
            "train_loss": training[-1]["loss"],
            "train_seconds": _training_seconds(training, self._batch_size()),
            **figures,
        }

    def _batch_size(self) -> int:
        run = yaml.safe_load((self.folder / "recipe.yaml").read_text())["run"]
        return run["batch_size"] * run["accumulation"]


def _training_seconds(training: list[dict[str, Any]], batch_size: int) -> float:
    """Sum over the log's windows of samples / (samples per second): evaluation, saving and
    pauses are not in it.
    """
    seconds, done = 0.0, 0
    for record in training:
        seconds += (record["step"] - done) * batch_size / record["samples_per_s"]
        done = record["step"]
    return seconds


def all_jobs(runs: Path, recipes: list[str], seeds: list[int]) -> list[Job]:
    """Seed by seed, so that a first answer is there early; within a seed, what others need
    comes first.
    """
    order = sorted(recipes, key=lambda name: (ARMS[name].needs is not None, list(ARMS).index(name)))
    return [Job(ARMS[name], seed, runs) for seed in seeds for name in order]
