"""Loading and running a program needs NumPy alone, and little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import spikedriven as sd
from spikedriven.engine import Program
from tests.engine.nets import thin, thin_plan

RUN = """
import sys
import numpy as np
import spikedriven as sd
program = sd.load_program(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], program(x))
assert "torch" not in sys.modules, "torch was imported"
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) / 1024)
"""


def run_alone(program: Program, x: torch.Tensor, folder: Path) -> tuple[np.ndarray, float]:
    """What a process of its own computes, and the most memory that it held, MiB."""
    program.save(folder / "net.sdp")
    np.save(folder / "x.npy", x.numpy())
    paths = [str(folder / name) for name in ("net.sdp", "x.npy", "y.npy")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "y.npy"), float(done.stdout)


def test_a_program_runs_without_torch(tmp_path: Path) -> None:
    program, x = Program(thin_plan("sdt_2_256_cifar")), thin("sdt_2_256_cifar")[1]
    found, peak = run_alone(program, x, tmp_path)
    assert np.array_equal(found, program(x).numpy())
    assert peak < 80


@pytest.mark.slow
def test_a_published_network_takes_less_than_120_mb(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = sd.create_model("sdt_8_512").eval(), torch.randn(1, 3, 224, 224)
    sd.calibrate(model, x)
    program = sd.compile(model, x)
    _, peak = run_alone(program, x, tmp_path)
    assert (tmp_path / "net.sdp").stat().st_size <= 32e6
    assert peak * 2**20 < 120e6


def test_arrays_in_arrays_out() -> None:
    program, x = Program(thin_plan("sdt_2_256_cifar")), thin("sdt_2_256_cifar")[1]
    found = program(x.numpy())
    assert isinstance(found, np.ndarray) and np.array_equal(found, program(x).numpy())
    assert isinstance(program.maps(x[:1].numpy())[0][1], np.ndarray)
    assert isinstance(program.maps(x[:1])[0][1], torch.Tensor)
    logits, state = program.step(x.numpy())
    assert isinstance(logits, np.ndarray) and all(
        isinstance(kept, np.ndarray) for kept in state.values
    )
    again, _ = program.step(x, program.step(x)[1])
    assert np.array_equal(program.step(x.numpy(), state)[0], again.numpy())


TIMM = "import spikedriven, timm; assert timm.is_model('sdt_8_512')"
TIMM_FIRST = "import timm; import spikedriven; assert timm.is_model('sdt_8_512')"
SUBMODULES = (
    "import spikedriven as sd; assert sd.graph.audit and sd.create_model and 'quantize' in dir(sd)"
)
UNKNOWN = (
    "import spikedriven as sd\ntry: sd.no_such\nexcept AttributeError as e: assert 'no_such' in "
    "str(e)\nelse: raise SystemExit(1)"
)


@pytest.mark.parametrize("code", [TIMM, TIMM_FIRST, SUBMODULES, UNKNOWN])
def test_names_are_there_when_they_are_used(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)
