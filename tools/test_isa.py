"""What `make test-isa` runs: the tests of arithmetic, once for each instruction set that this
machine can play.

    python tools/test_isa.py [--sets portable avx2] [--threads 1 2] [--seed 7]

Our kernels, PyTorch and oneDNN are held to the set alike. With 1 thread, two processes share the
tests; with 2, one process runs them all. The order is random; the seed is printed, and --seed
repeats it. Output of pytest goes into files in build/test-isa; what fails is printed too.

What runs: `SUITES`, without slow tests. Left out is what would say the same again:
- always, files whose tests round nothing, or round in whole numbers only: `NO_ROUNDING`;
- with 2 threads, suites in float64 that are compared with published figures or with themselves at
  1e-9, where the order of sums is 1e-14, and the page, whose server computes with one thread:
  `ONCE_PER_SET`; and the compiled graph, whose compiler takes longer than all other tests of
  neurons.
"""

import argparse
import os
import re
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "build" / "test-isa"
#: Name for SPIKEDRIVEN_ISA -> the words that hold PyTorch and oneDNN to the same.
SETS = {
    "portable": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "DEFAULT"},
}
SUITES = ("neurons", "kernels", "layers", "engine", "golden", "property", "training", "demo")
NO_ROUNDING = (
    "demo/test_command.py",  # how the process starts and stops
    "engine/test_file.py",  # files of programs: byte for byte
    "engine/test_layout.py",  # where values lie
    "engine/test_lower.py",  # weights for which a program is its network exactly
    "engine/test_without_torch.py",  # what is imported
    "neurons/test_registry.py",  # names
    "neurons/test_triton_code.py",  # text of GPU kernels
    "property/test_fuzz_data.py",  # readers of files
    "property/test_fuzz_recipes.py",
    "training/test_arena.py",  # where tensors lie
    "training/test_schedule.py",
)
ONCE_PER_SET = (
    "golden",
    "property",
    "demo/test_browser.py",
    "engine/test_compile.py",
    "engine/test_operations.py",  # runs with several threads by itself, as the two below
    "engine/test_parts.py",
    "engine/test_quantized.py",
    "engine/test_running.py",
    "neurons/test_every_neuron.py",
    "neurons/test_func.py",
)
COMPILED = "neurons/test_lif.py::test_the_default_compiler_takes_the_whole_graph"
COUNTS = re.compile(r"(\d+) (passed|failed|error)")


@dataclass(frozen=True)
class Outcome:
    passed: int
    failed: int
    seconds: float


def playable() -> list[str]:
    """Instruction sets of our kernels on this machine; without them, those of PyTorch."""
    ask = (
        "import torch; from spikedriven.kernels.extension import instruction_sets as own; "
        "print(*own() or torch.backends.cpu.get_cpu_capability().lower().split())"
    )
    env = {name: value for name, value in os.environ.items() if name != "SPIKEDRIVEN_ISA"}
    command = [sys.executable, "-c", ask]
    found = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    widest = (set(found.split()) & SETS.keys()) | {"portable"}
    names = list(SETS)
    return names[: max(names.index(name) for name in widest) + 1]


def arguments(threads: int, seed: int) -> list[str]:
    """Of pytest."""
    left_out = NO_ROUNDING if threads == 1 else NO_ROUNDING + ONCE_PER_SET
    suites = [name for name in SUITES if name not in left_out]
    shared = ["-n", "2", "--dist", "worksteal"] if threads == 1 else ["-n", "0"]
    words = [f"--randomly-seed={seed}", *shared, "-q", "--durations=15"]
    words += [f"--ignore=tests/{name}" for name in left_out]
    if threads > 1:
        words.append(f"--deselect=tests/{COMPILED}")
    return [*words, *(f"tests/{name}" for name in suites)]


def run(isa: str, threads: int, seed: int) -> Outcome:
    """One pass over the tests; prints one line, and what failed."""
    env = {**os.environ, **SETS[isa], "SPIKEDRIVEN_ISA": isa, "OMP_NUM_THREADS": str(threads)}
    LOGS.mkdir(parents=True, exist_ok=True)
    path, start = LOGS / f"{isa}-{threads}.log", time.monotonic()
    with path.open("w") as log:
        command = [sys.executable, "-m", "pytest", *arguments(threads, seed)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            status = process.wait()
        except KeyboardInterrupt:
            stop(process)
            raise
    outcome = read(path, status, time.monotonic() - start)
    figures = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.seconds:.0f} s"
    print(f"{isa}, {threads} thread{'s'[: threads - 1]}: {figures}", flush=True)
    if outcome.failed:
        lines = path.read_text(errors="replace").splitlines()
        told = [line for line in lines if line.startswith(("FAILED tests", "ERROR tests"))]
        print(*told, f"see {path}", sep="\n", flush=True)
    return outcome


def stop(process: subprocess.Popen) -> None:
    """A terminal's Ctrl-C has reached pytest too; otherwise it is told here. It gets ten
    seconds to tidy up.
    """
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read(log: Path, status: int, seconds: float) -> Outcome:
    """From pytest's last line; a run that broke off has failed, whatever it says."""
    lines = log.read_text(errors="replace").splitlines() or [""]
    counts = {word: int(number) for number, word in COUNTS.findall(lines[-1])}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    return Outcome(counts.get("passed", 0), failed or int(status != 0), seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), help="default: those there are")
    parser.add_argument("--threads", nargs="+", type=int, choices=(1, 2), default=(1, 2))
    parser.add_argument("--seed", type=int, help="of the order; default: another one each time")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"random order, --seed {seed}", flush=True)
    try:
        sets = options.sets or playable()
        outcomes = [run(isa, threads, seed) for threads in options.threads for isa in sets]
    except KeyboardInterrupt:
        print("stopped")
        return 130
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
