"""Run the studies of docs/results.md, and write their figures and tables.

    python tools/run_studies.py               # all of it: about four hours on two cores
    python tools/run_studies.py --only study_sfa_1x4 --seeds 0
    python tools/run_studies.py --tables      # only the tables, from the figures that are there

The runs in docs/results.json took 7.5 hours of one core (`train_seconds`), half of them study D's.
Two runs go side by side, one core each. What is finished is skipped, what was interrupted is
continued, so the command may be stopped and given again. Figures go to docs/results.json after
every run; step times and memory of the recipes in --only are measured last, when nothing else runs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from studies.costs import costs, firing
from studies.jobs import ARMS, SEEDS, Job, all_jobs
from studies.tables import STUDY_A, fill

from spikedriven.files import write_atomic
from spikedriven.report.environment import processor

DOCS = Path(__file__).parents[1] / "docs"
TEACHER = "study_teacher_cnn"
WEIGHED = ["study_lif_t4", "study_lif_t1", "study_sfa_1x4"]


def start(job: Job, extra: list[str]) -> subprocess.Popen[bytes]:
    """The run as a process of one thread; what it prints goes to FOLDER.txt."""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with job.folder.with_suffix(".txt").open("ab") as output:
        return subprocess.Popen(
            job.command(extra),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def run_all(
    jobs: list[Job], parallel: int, extra: list[str], results: dict[str, Any], file: Path
) -> None:
    """Run what is not finished, at most `parallel` at a time; RuntimeError at the first run
    that fails.
    """
    waiting = [job for job in jobs if not job.is_finished()]
    running: dict[Job, subprocess.Popen[bytes]] = {}
    for job in jobs:
        if job not in waiting:
            collect(job, results, file)
    try:
        while waiting or running:
            for job in [job for job in waiting if job.before is None or job.before.is_finished()]:
                if len(running) < parallel:
                    waiting.remove(job)
                    running[job] = start(job, extra)
                    print(f"started {job.folder.name}, {len(waiting)} left", flush=True)
            if not running:
                raise RuntimeError(
                    f"{waiting[0].folder.name} needs {waiting[0].arm.needs}, which is not among "
                    "the runs"
                )
            time.sleep(0.2)
            for job in [job for job, process in running.items() if process.poll() is not None]:
                process = running.pop(job)
                if process.returncode or not job.is_finished():
                    raise RuntimeError(
                        f"{job.folder.name} failed: see {job.folder.with_suffix('.txt')}"
                    )
                collect(job, results, file)
    finally:
        for process in running.values():
            process.terminate()  # it writes a checkpoint and ends
        for process in running.values():
            process.wait()


def collect(job: Job, results: dict[str, Any], file: Path) -> None:
    """Add a finished run's figures to the file."""
    results["runs"][job.folder.name] = job.result()
    if job.arm.recipe in STUDY_A:
        results["runs"][job.folder.name] |= firing(job.folder)
    save(results, file)
    print(f"finished {job.folder.name}: {results['runs'][job.folder.name]}", flush=True)


def save(results: dict[str, Any], file: Path) -> None:
    write_atomic(file, (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())


def environment() -> str:
    """The machine, in a line."""
    return (
        f"{processor()}, {os.cpu_count()} cores; torch {torch.__version__}, "
        f"Python {platform.python_version()}; one thread per run, two runs at a time."
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/studies"), help="folder of the run folders"
    )
    parser.add_argument("--only", nargs="+", choices=list(ARMS), default=list(ARMS), help="recipes")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--parallel", type=int, default=2, help="runs side by side")
    parser.add_argument(
        "--no-costs", action="store_true", help="do not measure step times and memory"
    )
    parser.add_argument("--tables", action="store_true", help="only write the tables")
    parser.add_argument(
        "--results", type=Path, default=DOCS / "results.json", help="file of figures"
    )
    parser.add_argument(
        "--page", type=Path, default=DOCS / "results.md", help="page with the tables"
    )
    parser.add_argument(
        "extra", nargs="*", help="after --: further options for every `spikedriven train`"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    file = arguments.results
    results = (
        json.loads(file.read_text())
        if file.is_file()
        else {"environment": "", "runs": {}, "costs": {}}
    )
    if not arguments.tables:
        torch.set_num_threads(1)  # the runs beside this process have the cores
        results["environment"] = environment()
        jobs = all_jobs(arguments.runs, arguments.only, arguments.seeds)
        run_all(jobs, arguments.parallel, arguments.extra, results, file)
        if not arguments.no_costs:
            weighed = [name for name in WEIGHED if name in arguments.only]
            results["costs"] |= costs(
                arguments.only, weighed, Job(ARMS[TEACHER], SEEDS[0], arguments.runs).folder
            )
            save(results, file)
    fill(arguments.page, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
