import pytest

from spikedriven.tasks import TASKS
from tests.training.toys import ToyTask


@pytest.fixture(autouse=True)
def toy_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", ToyTask)
