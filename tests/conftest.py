"""Settings of the whole test run."""

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core: more threads would only fight
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
