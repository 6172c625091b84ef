"""The studies' recipes, the script that runs them, and the tables it writes."""

import dataclasses
import json
from pathlib import Path

import pytest
from run_studies import main
from studies.costs import make_step, peak_memory, step_times
from studies.jobs import ARMS, Job, all_jobs
from studies.tables import (
    BEFORE,
    NOT_RUN,
    STUDY_A,
    STUDY_B,
    STUDY_C,
    STUDY_D_DIRECTION,
    STUDY_D_GARMENT,
    fill,
    tables,
)

from spikedriven.recipes import list_recipes, load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
# One step on 50 train images, evaluated on 100.
SHORT = [
    "--schedule.epochs",
    "1",
    "--schedule.warmup-epochs",
    "0",
    "--data.train-fraction",
    "0.0051",
]
SHORT += ["--data.val-fraction", "0.01", "--run.log-steps", "1"]


def run(folder: Path, *words: str) -> int:
    if not (folder / "results.md").exists():
        (folder / "results.md").write_text(PAGE.read_text())
    options = {"--runs": "runs", "--results": "results.json", "--page": "results.md"}
    return main(
        [word for name, file in options.items() for word in (name, str(folder / file))]
        + list(words)
    )


def test_every_study_recipe_is_run_and_shown() -> None:
    assert {name for name in list_recipes() if name.startswith("study_")} == ARMS.keys()
    shown = (
        STUDY_A.keys()
        | STUDY_B.keys()
        | STUDY_C.keys()
        | STUDY_D_DIRECTION.keys()
        | STUDY_D_GARMENT.keys()
    )
    assert ARMS.keys() == shown | set(BEFORE.values())
    assert all(ARMS[arm].needs == first for arm, first in BEFORE.items())


def test_the_arms_of_a_study_differ_only_in_what_is_compared() -> None:
    sfa, lif, t1, t4 = (
        load_recipe(f"study_{name}") for name in ("sfa_1x4", "lif_t4", "lif_t1", "lif_t1_to_t4")
    )
    assert {**sfa.model.args, "neuron": "lif"} == lif.model.args == t1.model.args == t4.model.args
    assert t1.schedule.epochs + t4.schedule.epochs == sfa.schedule.epochs == lif.schedule.epochs
    assert sfa.data == lif.data == t1.data == t4.data == load_recipe("study_teacher_cnn").data
    scratch, tuned, long = (
        load_recipe(f"study_mae_{name}") for name in ("scratch", "finetune", "scratch_long")
    )
    assert scratch.data == tuned.data == long.data and scratch.optim == tuned.optim == long.optim
    assert (
        scratch.schedule == tuned.schedule
        and scratch.model.args == tuned.model.args == long.model.args
    )
    for name in ("hard", "soft"):
        student = load_recipe(f"study_distil_{name}")
        assert (student.data, student.optim, student.schedule) == (
            sfa.data,
            sfa.optim,
            sfa.schedule,
        )
        assert student.model.args == {**sfa.model.args, "distilled": True}


def test_the_arms_of_the_event_study_differ_only_in_what_is_compared() -> None:
    base = load_recipe("study_events_sdt_direction")
    for name in (*STUDY_D_DIRECTION, *STUDY_D_GARMENT):
        arm = load_recipe(name)
        assert (arm.optim, arm.schedule, arm.run) == (base.optim, base.schedule, base.run), name
        labels = "garment" if name in STUDY_D_GARMENT else "direction"
        assert arm.data == dataclasses.replace(
            base.data, labels=labels, shuffle_steps="shuffled" in name
        ), name
    shuffled, garment = (
        load_recipe(f"study_events_sdt_{name}") for name in ("direction_shuffled", "garment")
    )
    assert base.model == shuffled.model == garment.model
    integer, lif = (load_recipe(f"study_events_esf_direction{end}").model for end in ("", "_lif"))
    assert (
        lif.args == {**integer.args, "neuron": "lif"}
        and integer == load_recipe("study_events_esf_garment").model
    )


def test_what_a_run_needs_comes_before_it() -> None:
    jobs = all_jobs(Path("runs"), list(ARMS), [0, 1])
    assert len(jobs) == 2 * len(ARMS)
    for index, job in enumerate(jobs):
        assert job.before is None or job.before in jobs[:index]


@pytest.mark.slow
def test_two_stages_run_are_skipped_when_finished_and_end_in_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--only",
        "study_lif_t1_to_t4",
        "study_lif_t1",
        "--seeds",
        "3",
        "--no-costs",
        "--",
        *SHORT,
    ]
    assert run(tmp_path, *words) == 0
    assert [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("started")
    ] == [
        "started study_lif_t1_s3, 1 left",
        "started study_lif_t1_to_t4_s3, 0 left",
    ]
    found = json.loads((tmp_path / "results.json").read_text())["runs"]["study_lif_t1_to_t4_s3"]
    assert found["steps"] == 1 and found["seed"] == 3 and 0 < found["rate"] < 1
    assert found["spikes"] == pytest.approx(4 * found["rate"]), "T is 4"
    recipe = load_recipe(str(tmp_path / "runs" / "study_lif_t1_to_t4_s3"))
    assert recipe.model.init == str(tmp_path / "runs" / "study_lif_t1_s3") and recipe.run.seed == 3
    assert (
        f"| LIF, T 1 -> 4 | `study_lif_t1_to_t4` | {found['top1']:.2f} |"
        in (tmp_path / "results.md").read_text()
    )
    assert run(tmp_path, *words) == 0 and "started" not in capsys.readouterr().out


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="study_sfa_1x4_s0 failed: see"):
        run(tmp_path, "--only", "study_sfa_1x4", "--seeds", "0", "--", "--data.dataset", "nowhere")


def test_a_run_without_what_it_needs_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="needs study_teacher_cnn, which is not among the runs"):
        run(tmp_path, "--only", "study_distil_hard", "--seeds", "0")


def made_up(recipe: str, seed: int, **figures: float) -> dict:
    base = {"top1": 80.0 + seed, "loss": 0.5, "train_loss": 0.4, "train_seconds": 60.0, "steps": 10}
    return {"recipe": recipe, "seed": seed, **base, **figures}


def test_tables_hold_means_spreads_and_both_stages_times() -> None:
    runs = {
        f"{name}{seed}": made_up(name, seed)
        for name in ("study_lif_t1", "study_lif_t1_to_t4")
        for seed in range(3)
    }
    runs |= {f"lif{seed}": made_up("study_lif_t4", seed, rate=0.1, spikes=0.4) for seed in range(3)}
    runs |= {
        f"sfa{seed}": made_up("study_sfa_1x4", seed, top1=82.5, rate=0.2, spikes=0.8)
        for seed in range(3)
    }
    times = {"median": 50.0, "lower": 40.0, "upper": 60.0}
    entries = {
        "study_lif_t4": {"step_ms": {**times, "median": 200.0}, "peak_mib": 300.4},
        "study_sfa_1x4": {"step_ms": times, "peak_mib": 90},
        "study_lif_t1": {"step_ms": {**times, "median": 3000.0}},  # ten steps: half a minute
        "study_lif_t1_to_t4": {"step_ms": {**times, "median": 9000.0}},
    }
    found = tables({"environment": "a machine", "runs": runs, "costs": entries})
    assert (
        "| LIF, T 1 -> 4 | `study_lif_t1_to_t4` | 81.00 ± 1.00 | 0.500 ± 0.000 | 0.400 ± 0.000 | "
        "2.0 |" in (found["study-a"])
    )
    assert (
        "| `study_lif_t4` | 200 (40 to 60) | 300 | 10.0 ± 0.0 | 0.40 ± 0.00 |"
        in found["study-a-costs"]
    )
    assert "study_lif_t1_to_t4" not in found["study-a-costs"]
    assert (
        "4.00 times as long" in found["study-a-claim"]
        and "+2.50, +1.50, +0.50 points" in found["study-a-claim"]
    )
    assert found["study-b"] == NOT_RUN


def test_the_page_has_every_marker_and_filling_it_twice_changes_nothing(tmp_path: Path) -> None:
    page, empty = tmp_path / "page.md", {"environment": "", "runs": {}, "costs": {}}
    page.write_text(PAGE.read_text())
    fill(page, empty)
    once = page.read_text()
    fill(page, empty)
    assert page.read_text() == once and once.count(NOT_RUN) == len(tables(empty))
    page.write_text("no markers")
    with pytest.raises(ValueError, match="expected the markers"):
        fill(page, empty)


def test_the_page_in_the_repository_shows_the_figures_in_the_repository(tmp_path: Path) -> None:
    file = PAGE.with_name("results.json")
    results = (
        json.loads(file.read_text())
        if file.is_file()
        else {"environment": "", "runs": {}, "costs": {}}
    )
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text())
    fill(copy, results)
    assert copy.read_text() == PAGE.read_text()


@pytest.mark.slow
def test_memory_of_steps_is_that_of_activations() -> None:
    assert 10 < peak_memory("study_lif_t4") < 2000


def test_steps_need_no_starting_weights() -> None:
    make_step("study_lif_t1_to_t4")()


def test_quartiles_of_alternating_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("studies.costs.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("studies.costs.make_step", lambda *_: lambda: None)
    assert step_times(["a", "b"]) == {
        name: {"median": 1000, "lower": 1000, "upper": 1000} for name in "ab"
    }


def test_a_job_without_a_log_is_not_finished(tmp_path: Path) -> None:
    assert not Job(ARMS["study_sfa_1x4"], 0, tmp_path).is_finished()
