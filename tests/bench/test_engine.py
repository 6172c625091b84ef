"""Contestants in processes of their own: one that works, and every way not to."""

import json
import os

import pytest
import torch

from spikedriven.bench.contest import choose
from spikedriven.bench.contestants import CONTESTANTS, Contestant
from spikedriven.bench.engine import measure
from spikedriven.bench.subject import load_inputs, load_model, make_subject
from spikedriven.errors import InputError
from spikedriven.runs.target import Target

TINY = Target("sdt_2_256_cifar", img_size=16, time_steps=1)
THREADS = 1


def load_good(task):
    assert torch.get_num_threads() == THREADS and os.environ["OMP_NUM_THREADS"] == str(THREADS)
    os.write(1, b"noise that must not reach the terminal")
    model = load_model(task.folder)
    return lambda x: model(x).detach()


def load_hungry(task):
    model, ballast = load_model(task.folder), torch.ones(64 * 2**20)  # 256 MB
    return lambda x: -model(x).detach() * ballast[0]


def load_fatal(task):
    def run(x):
        os._exit(7)

    return run


def prepare_badly(task):
    raise ValueError("no such luck\nand more lines")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """With as many threads as a contestant: more would round differently, and flip spikes of a
    random network.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    made = make_subject(tmp_path_factory.mktemp("bench") / "subject", TINY, inputs=3)
    torch.set_num_threads(before)
    return made


@pytest.fixture(scope="module")
def results(subject):
    contestants = {
        "hungry": Contestant("wants memory, answers upside down", load_hungry),
        "engine": Contestant("stand-in", load_good),
        "fatal": Contestant("dies", load_fatal),
        "unprepared": Contestant("fails early", load_good, prepare_badly),
        "absent": Contestant("not there", load_good, None, "no_package_is_called_so"),
    }
    ticks = []
    found = measure(subject, contestants, THREADS, 1, 4, lambda text: ticks.append(text))
    assert [result.name for result in found] == list(contestants)
    return {result.name: result for result in found}


@pytest.mark.slow
def test_what_does_not_work_says_why_and_the_others_go_on(results):
    assert {name: result.status for name, result in results.items()} == {
        "engine": "measured", "hungry": "measured", "fatal": "failed", "unprepared": "failed",
        "absent": "not installed",
    }  # fmt: skip
    assert results["fatal"].reason == "its process ended with exit code 7"
    assert results["unprepared"].reason == "ValueError: no such luck"
    assert results["absent"].reason == "pip install no_package_is_called_so"
    assert results["unprepared"].milliseconds is None and results["fatal"].memory is None


@pytest.mark.slow
def test_times_and_ratios(results):
    engine, hungry = results["engine"], results["hungry"]
    assert len(engine.times_ms) == 4 and min(engine.times_ms) > 0
    assert engine.milliseconds.q1 <= engine.milliseconds.median <= engine.milliseconds.q3
    assert engine.slower.median == engine.slower.q3 == 1.0
    by_round = sorted(a / b for a, b in zip(hungry.times_ms, engine.times_ms, strict=True))
    assert hungry.slower.median == pytest.approx((by_round[1] + by_round[2]) / 2)


@pytest.mark.slow
def test_memory_is_that_of_the_process(results):
    assert 240 < results["hungry"].memory.own - results["engine"].memory.own < 400
    assert results["hungry"].memory.own < results["hungry"].memory.peak


@pytest.mark.slow
def test_outputs_are_compared_with_the_float_model(results, subject):
    _, outputs = load_inputs(subject.folder)
    assert results["engine"].top1_agreement == 1.0
    assert results["engine"].largest_difference < 1e-5 < outputs.abs().max()
    assert results["hungry"].top1_agreement == 0.0
    assert results["hungry"].largest_difference == pytest.approx(
        2 * outputs.abs().max().item(), rel=1e-4
    )


@pytest.mark.slow
def test_what_libraries_print_goes_into_a_file(results, subject):
    assert "noise that must not" in (subject.folder / "engine-run.log").read_text()
    assert "and more lines" in (subject.folder / "unprepared-prepare.log").read_text()


@pytest.mark.slow
def test_results_are_plain_json(results, subject):
    for result in results.values():
        assert json.loads(json.dumps(result.to_dict()))["status"] == result.status
    found = json.loads(json.dumps(subject.to_dict()))
    assert found["density"]["neurons"] == pytest.approx(0.15, abs=0.03)
    assert found["input"] == [3, 16, 16] and found["time_steps"] == 1 and "0.15" in found["weights"]


def test_impossible_settings_are_refused(subject):
    for settings in ({"batch": 4}, {"batch": 0}, {"threads": 0}, {"rounds": 0}):
        with pytest.raises(InputError, match="at least 1 of each"):
            measure(subject, {}, **settings)


def test_contestants_by_name():
    assert list(choose(CONTESTANTS, ["openvino", "engine"])) == ["engine", "openvino"]
    assert choose(CONTESTANTS, []) == CONTESTANTS
    with pytest.raises(InputError, match="no contestant is called tensorflow"):
        choose(CONTESTANTS, ["tensorflow"])
