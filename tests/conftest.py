"""Settings of the whole test run."""

import logging
import os

import pytest
import torch

# one process per core: more threads would only fight, unless somebody asked for them
if "PYTEST_XDIST_WORKER" in os.environ and "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)

# Autograd decides at its first backward pass whether it keeps threads, which no fork survives.
# After torch.export it would; so the first pass is this one, whatever order the tests come in.
torch.ones(1, requires_grad=True).sum().backward()


# pytest listens to every logger that hands nothing on. With a listener PyTorch writes the state of
# each tensor that it traces: an eighth of the time of torch.export.
logging.getLogger("torch.__trace").propagate = True


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["avx512", "avx2", "portable"])
def instruction_set(request):
    """Training kernels as compiled for this instruction set, where this machine has it."""
    from spikedriven.kernels import extension

    extension = extension.extension()
    if request.param not in extension.instruction_sets():
        pytest.skip(f"this machine cannot run {request.param}")
    extension.train_with(request.param)
    yield request.param
    extension.train_with("")
