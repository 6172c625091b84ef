"""Dead and saturated layers: found on one batch, told to a person and to the log, shown in the
report.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikedriven.neurons import LIF, IntegerNeuron
from spikedriven.runs.log import RunLog
from spikedriven.tasks import TASKS
from spikedriven.training.health import NAMED, BatchFiring, first_batch
from spikedriven.training.loop import Trainer
from tests.training.toys import ALONE, FEATURES, ToyTask, toy_recipe


class Net(nn.Module):
    """One layer that never fires, one that always does, one in between, one that is called
    twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dead, self.full, self.alive, self.twice = LIF(), IntegerNeuron(2), LIF(), LIF()

    def forward(self, x: Tensor) -> Tensor:
        steps = x[None].repeat(2, 1, 1)
        self.dead(steps * 0)
        self.full(steps * 0 + 9)
        self.twice(steps * 0)
        self.twice(steps * 0 + 9)
        return self.alive(torch.linspace(0, 4, steps.numel()).view_as(steps))


def test_the_first_batch_decides_and_hooks_go_away() -> None:
    model = Net()
    with first_batch(model) as found:
        model(torch.ones(3, 5))
        model(torch.ones(7, 5))
    assert (found.dead, found.saturated, found.layers, found.images) == (["dead"], ["full"], 4, 3)
    assert not model._forward_hooks and not model.dead._forward_hooks


def test_what_is_told_names_the_first_layers() -> None:
    found = BatchFiring(
        {f"layer{i}": False for i in range(6)}, {f"layer{i}": False for i in range(6)}, 8
    )
    (line,) = found.told()
    assert line.startswith(
        "dead (no neuron fired on the first 8 evaluation images): 6 of 6 neuron layers: layer0"
    )
    assert f"layer{NAMED - 1}" in line and f"layer{NAMED}," not in line and "2 more" in line
    assert BatchFiring({"a": True}, {"a": False}, 8).told() == []
    assert BatchFiring({"a": True}, {"a": True}, 8).told()[0].startswith("saturated")


def test_a_network_without_neurons_says_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True, total_steps=1)
    with log.open():
        BatchFiring().tell(log, 1, 1)
    assert (tmp_path / "log.jsonl").read_text() == ""


class SpikingToy(ToyTask):
    """The toy task on a network whose neuron is dead."""

    def build_model(self) -> nn.Module:
        dead = nn.Linear(FEATURES, 2).double()
        nn.init.zeros_(dead.weight)
        nn.init.constant_(dead.bias, -9.0)
        return nn.Sequential(Over(dead), LIF(), Mean(), nn.Linear(2, 2).double())


class Over(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[None]


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0)


def test_a_run_tells_once_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "toy", SpikingToy)
    Trainer(toy_recipe(), tmp_path / "r", ALONE).fit()
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["kind"] == "firing"]
    assert [line["step"] for line in told] == [
        line["step"] for line in lines if line["kind"] == "eval"
    ]
    assert all(
        line["dead"] == ["1"] and line["saturated"] == [] and line["layers"] == 1 for line in told
    )
    assert capsys.readouterr().err.count("dead (no neuron fired") == len(told) == 3
