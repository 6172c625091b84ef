"""Turns, and ratios within a round."""

import pytest

from spikedriven.bench.rounds import Spread, alternate, ratios
from spikedriven.bench.worker import WorkerError


class Fake:
    def __init__(self, name, log, times):
        self.name, self.log, self.times = name, log, times

    def ask(self, message):
        self.log.append((message, self.name))
        if self.times[message] is None:
            raise WorkerError("it broke")
        return self.times[message]


def test_everyone_once_a_round_in_rotating_order():
    log, ticks = [], []
    workers = {name: Fake(name, log, [1, 2, 3]) for name in "abc"}
    times, failed = alternate(workers, 3, after=lambda: ticks.append(1))
    assert [name for _, name in log] == [*"abc", *"bca", *"cab"]
    assert times == {name: [1, 2, 3] for name in "abc"} and not failed and len(ticks) == 9


def test_one_that_fails_on_the_way_is_left_out_and_the_others_go_on():
    log = []
    workers = {"good": Fake("good", log, [1, 2, 3]), "bad": Fake("bad", log, [1, None, 3])}
    times, failed = alternate(workers, 3)
    assert times == {"good": [1, 2, 3]} and failed == {"bad": "it broke"}
    assert log.count((2, "bad")) == 0 and log.count((2, "good")) == 1


def test_a_ratio_is_taken_within_a_round():
    engine, other = [1.0, 10.0, 2.0], [4.0, 20.0, 4.0]  # the machine was busy in the second round
    assert ratios(other, engine) == Spread(median=2.0, q1=2.0, q3=3.0)
    assert Spread.of(other).median / Spread.of(engine).median == 2.0
    assert ratios([3.0, 30.0], [1.0, 30.0]).median == pytest.approx(
        2.0
    )  # of the medians: 16.5 / 15.5
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])
