"""The compiled engine where programs are served: concurrent calls, processes made by fork, a
system out of threads.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from spikedriven.engine import Program
from spikedriven.engine.program import Relu
from spikedriven.errors import InputError
from spikedriven.kernels.extension import available
from tests.engine.nets import thin, thin_plan
from tests.engine.plans import Sketch

pytestmark = pytest.mark.skipif(not available(), reason="installed without the compiled engine")

# the extension by itself: a network of one operation on 64 rows, and its outputs for one input
ENGINE = """
import importlib.util, os, resource, signal, sys
import numpy as np
spec = importlib.util.spec_from_file_location("_native", sys.argv[1])
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
engine = native.Engine("", 1)
engine.add_slot(native.Kind.REAL, 1, 64, 8, 3, 1.0, True)
engine.image(0)
engine.finish([0], True)
x = np.random.default_rng(0).normal(size=(1, 3, 64, 8)).astype(np.float32).transpose(0, 2, 3, 1)
def run(threads):
    engine.run([x], threads)
    return np.array_equal(engine.read(0), x)
"""


def alone(program: str) -> subprocess.CompletedProcess:
    from spikedriven.kernels import _native

    command = [sys.executable, "-c", ENGINE + program, str(Path(_native.__file__))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_concurrent_calls_do_not_mix() -> None:
    program = Program(thin_plan("sdt_2_256_cifar"), native=True)
    program.threads = 2
    batch = thin("sdt_2_256_cifar")[1].repeat(4, 1, 1, 1)
    batch = batch + 0.3 * torch.randn_like(batch)
    alone = [program(x[None]) for x in batch]
    assert len({tuple(y[0].tolist()) for y in alone}) == len(batch)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: program(x[None]), [*batch] * 5))
    assert all(torch.equal(y, alone[i % len(batch)]) for i, y in enumerate(together))


def test_a_forked_process_computes_and_ends() -> None:
    ran = alone("""
assert run(3)
child = os.fork()
if not child:
    signal.alarm(20)  # ends the process where it would wait for threads that are not there
    ok = run(3) and run(3) and run(2)
    del engine
    os._exit(7 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert run(3)
""")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("ran_before", [True, False])
def test_a_process_forked_beside_pytorch_computes(ran_before: bool) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import os, signal, sys, torch
import spikedriven as sd
from spikedriven.engine import Program
from spikedriven.engine.program import Relu
torch.manual_seed(0)
torch.set_num_threads(2)
model = sd.create_model("sdt_2_256_cifar", embed_dim=32, depth=1).eval()
x = torch.randn(2, 3, 32, 32)
program = Program(sd.compile(model, x, native=False).plan, native=True)  # has not run yet
program.threads = 2
# PyTorch's threads have started
torch.randn(400, 400) @ torch.randn(400, 400) + torch.randn(10**6).sum()
if sys.argv[1] == "True":
    expected = program(x)      # on them
child = os.fork()
if not child:
    signal.alarm(30)           # ends the process where it would wait for threads that are not there
    found = program(x)
    equal = sys.argv[1] != "True" or torch.equal(found, expected)
    os._exit(7 if found.isfinite().all() and equal else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert program(x).isfinite().all()
""",
            str(ran_before),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_process_forked_while_another_thread_runs_the_program_computes() -> None:
    ran = subprocess.run([sys.executable, "-c", """
import os, signal, sys, threading, time, torch
import spikedriven as sd
from spikedriven.engine import Program
from spikedriven.engine.program import Relu
torch.manual_seed(0)
model = sd.create_model("sdt_2_256_cifar", embed_dim=64, depth=1).eval()
x = torch.randn(1, 3, 32, 32)
program = Program(sd.compile(model, x, native=False).plan, native=True)
program.threads = 2
expected = program(x)
stop = False
def work():
    while not stop:
        assert torch.equal(program(x), expected)
worker = threading.Thread(target=work)
worker.start()
children = []
busy = 0
for i in range(20):
    program.threads = 1 + i % 2
    time.sleep(0.003)
    busy += program._native._lock.locked()
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends the process where it would wait for a thread that is not there
        ok = torch.equal(program(x), expected) and torch.equal(program(x), expected)
        os._exit(7 if ok else 1)
    children.append(child)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop = True
worker.join()
assert ends == [7] * 20, ends
assert busy, "no run was going on at a fork"
assert torch.equal(program(x), expected)
"""], capture_output=True, text=True, timeout=240)  # fmt: skip
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer itself needs the memory"
)
def test_a_system_without_more_threads_is_an_error_and_no_crash() -> None:
    ran = alone("""
assert run(2)
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
try:
    run(1000)
except RuntimeError as error:
    print("refused:", error)
assert run(2)
""")
    assert ran.returncode == 0 and "refused: Resource temporarily unavailable" in ran.stdout, (
        ran.stderr
    )


def test_a_signal_ends_a_long_run() -> None:
    sketch = Sketch(0)
    last = sketch.real(256, 256, 32)
    for _ in range(600):
        source, last = last, sketch.map("real", 1, 256, 256, 32)
        sketch.operations.append(Relu(source, last))
    program = Program(sketch.plan(last), native=True)
    x = torch.zeros(1, 256, 256, 32)

    def ring(*_: object) -> None:
        raise KeyboardInterrupt

    program(x)
    begin = time.perf_counter()
    program(x)
    whole = time.perf_counter() - begin
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(
            signal.ITIMER_REAL, whole / 10
        )  # in the midst of it, however fast the processor is
        with pytest.raises(KeyboardInterrupt):
            program(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert program._native is not None and len(program._native.engine.seconds) < 600


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_numbers_of_threads_that_make_no_sense(threads: int) -> None:
    program = Program(thin_plan("sdt_2_256_cifar"), native=True)
    program.threads = threads
    with pytest.raises(InputError, match="threads must be a whole number from 1 to 1024"):
        program(thin("sdt_2_256_cifar")[1])
