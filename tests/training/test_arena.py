"""The arena of large tensors: what it holds stays apart and whole, it wastes little, and
nothing depends on it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikedriven.training import arena

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the arena is written for Linux"),
    pytest.mark.skipif(
        not (os.environ.get("CXX") or shutil.which("c++")),
        reason="compiling it needs a C++ compiler",
    ),
]

# the file by itself: importing the package takes longer than most of these tests
LOAD = f"""
import importlib.util, os, random, sys, threading, torch
spec = importlib.util.spec_from_file_location("arena", {arena.__file__!r})
arena = sys.modules["arena"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(arena)
figures, use_arena = arena.figures, arena.use_arena
"""
START = (
    LOAD
    + """
why = use_arena()
assert why is None, why
"""
)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiled once for all of these tests, and not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        yield folder


def run(program: str, **environment: str) -> str:
    """What a process of its own prints: the allocator is replaced for good."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=170
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CHURN = """
before = figures().used
def churn(seed):
    rng, held = random.Random(seed), []
    for number in range(1500):
        if held and rng.random() < 0.5:
            tensor, value = held.pop(rng.randrange(len(held)))
            assert bool((tensor == value).all()), "another tensor wrote into this one"
        else:
            size = rng.choice([10, 5000, 20_000, 300_000]) + rng.randrange(3000)
            value = seed * 1e6 + number
            held.append((torch.full((size,), value), value))
threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
after = figures()
assert after.used == before and after.extent >= after.peak > 10 << 20
# what was let go is one hole again
whole = torch.empty(after.extent - before - 256, dtype=torch.uint8)
assert figures().extent == after.extent
print("fine")
"""


@pytest.mark.slow
def test_tensors_of_several_threads_stay_apart_and_leave_no_holes():
    assert run(START + CHURN) == "fine"


PATTERN = """
before, kept = figures().used, []
# each layer keeps its map and a few small things, and lets go of what it made on the way
for layer in range(40):
    made = torch.empty(2**20)
    kept.append(torch.empty(2**20))
    kept += [torch.empty(40) for _ in range(20)]
    del made
after = figures()
print((after.extent - before) / (after.peak - before))
"""


@pytest.mark.slow
def test_small_tensors_do_not_come_between_large_ones():
    assert float(run(START + PATTERN)) < 1.03


@pytest.mark.slow
def test_what_does_not_fit_is_refused_as_always():
    program = (
        START
        + """
try:
    torch.empty(1 << 50, dtype=torch.uint8)
except RuntimeError as error:
    assert "can't allocate memory" in str(error), error
    print("refused")
"""
    )
    assert run(program) == "refused"


FORKS = """
import signal
torch.set_num_threads(1)  # as in a loader's process: OpenMP's threads do not survive a fork
kept, going = torch.full((100_000,), 7.0), True
def busy():  # so that a fork finds the arena locked now and then
    while going: torch.empty(100_000)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads: thread.start()
states = []
for _ in range(100):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        mine = torch.full((100_000,), 8.0)
        os._exit(0 if bool((kept == 7).all()) and bool((mine == 8).all()) else 1)
    states.append(os.waitpid(child, 0)[1])
    if states[-1]: break
going = False
for thread in threads: thread.join()
print(len(states), any(states), bool((kept == 7).all()))
"""


@pytest.mark.slow
def test_a_forked_process_goes_on_whatever_other_threads_were_doing():
    assert run(START + FORKS) == "100 False True"


@pytest.mark.slow
def test_the_profiler_sees_its_tensors():
    program = (
        START
        + """
with torch.profiler.profile(profile_memory=True) as profile:
    x = torch.zeros(1_000_000)
print(max(event.cpu_memory_usage for event in profile.key_averages()))
"""
    )
    assert int(run(program)) == 4_000_000


STEP = """
import torch
import spikedriven as sd
from spikedriven.training.arena import figures, use_arena
def gradients():
    torch.manual_seed(0)
    model = sd.create_model("sdt_2_256_cifar", embed_dim=32, img_size=16).train()
    model(torch.rand(4, 3, 16, 16)).square().sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]
before = gradients()
assert use_arena() is None and figures().used == 0
after = gradients()
assert figures().peak > 1 << 20 and len(after) == len(before) > 20
print(all(torch.equal(a, b) for a, b in zip(after, before)))
"""


def test_gradients_have_the_same_bits_with_and_without():
    assert run(STEP) == "True"


@pytest.mark.slow
def test_it_is_compiled_once_also_by_processes_that_start_at_the_same_time(tmp_path: Path):
    command = [sys.executable, "-c", START + "print('fine')"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=170)[0].strip() for process in processes] == [
        "fine",
        "fine",
    ]
    folder = tmp_path / ".cache" / "spikedriven" / "native"
    (library,) = folder.iterdir()  # and nothing half-written beside it
    made = library.stat().st_mtime_ns
    run(START, HOME=str(tmp_path))
    assert library.stat().st_mtime_ns == made


TRY = (
    LOAD
    + """
print(use_arena())
assert float(torch.ones(100_000).sum()) == 100_000
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, reason",
    [("compiler", "No such file"), ("source", "failed"), ("folder", "Not a directory")],
)
def test_without_a_compiler_or_a_folder_tensors_stay_in_the_heap(
    what: str, reason: str, tmp_path: Path
):
    changed = {"compiler": "/nowhere/c++", "source": "c++ -include /nowhere.h", "folder": "c++"}
    home = tmp_path / "home"
    home.mkdir()
    if what == "folder":
        (home / ".cache").write_text("a file where the folder should be")
    said = run(TRY, HOME=str(home), CXX=changed[what])
    assert reason in said
    assert not list(home.rglob("*.so"))


@pytest.mark.slow
def test_a_damaged_library_is_no_reason_to_stop(tmp_path: Path):
    run(START, HOME=str(tmp_path))
    (library,) = tmp_path.rglob("*.so")
    library.write_bytes(b"no library")
    assert "OSError" in run(TRY, HOME=str(tmp_path))
