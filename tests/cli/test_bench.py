"""The bench command."""

import json

import pytest
import torch

from spikedriven.bench import contestants
from spikedriven.cli import main

TINY = [
    "bench",
    "engine",
    "--models",
    "sdt_2_256_cifar@1",
    "--img-size",
    "16",
    "--rounds",
    "2",
    "--threads",
    "1",
]


@pytest.fixture
def one_thread():
    """As in a contestant's process: with more, rounding flips spikes of a random network in one
    of the two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_json(one_thread, capsys):
    assert main([*TINY, "--only", "eager", "--inputs", "2", "--rate", "0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "processor",
        "flags",
        "usable_cores",
        "torch",
        "onnxruntime",
        "openvino",
        "load",
        "load_at_end",
    } <= found["machine"].keys()
    assert (
        found["settings"]["threads"] == 1
        and found["settings"]["rounds"] == 2
        and found["settings"]["batch"] == 1
    )
    (model,) = found["models"]
    assert (
        model["model"] == "sdt_2_256_cifar"
        and model["time_steps"] == 1
        and model["input"] == [3, 16, 16]
    )
    assert (
        model["density"]["neurons"] == pytest.approx(0.2, abs=0.04)
        and "rate of 0.2" in model["weights"]
    )
    (eager,) = model["contestants"]
    assert eager["name"] == "eager" and eager["status"] == "measured" and eager["slower"] is None
    assert eager["top1_agreement"] == 1.0 and eager["memory"]["peak"] > eager["memory"]["own"] > 0
    assert eager["milliseconds"].keys() == {"median", "q1", "q3"} and len(eager["times_ms"]) == 2


def test_table_and_a_missing_package(capsys, monkeypatch):
    monkeypatch.setattr(contestants.importlib.util, "find_spec", lambda name: None)
    assert main([*TINY, "--only", "openvino", "--inputs", "2", "--rule"]) == 0
    shown = capsys.readouterr().out
    assert "openvino: not installed: pip install openvino" in shown
    assert (
        "by the rule of the golden figures" in shown
        and "of all neuron outputs" in shown
        and "1 threads" in shown
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench"], "say what to measure: engine"),
        (["bench", "trian"], "say what to measure: engine"),
        ([*TINY, "--only", "tensorflow"], "no contestant is called tensorflow"),
        (["bench", "engine", "--models", "sdt_8_512@four"], "number of time steps"),
        (
            ["bench", "engine", "--models", "sdt_8_512", "sdt_8_384", "--checkpoint", "x.pth"],
            "goes with one model",
        ),
        ([*TINY, "--rule", "--rate", "0.1"], "give one of the two"),
        ([*TINY, "--rate", "1.5"], "between 0 and 1"),
        (["bench", "engine", "--models", "spike_mae_12_512"], "spike_mae_12_512"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    assert main(["bench", "--help"]) == 0
    assert "spikedriven bench engine --models" in capsys.readouterr().out
    assert main(["bench", "engine", "--help"]) == 0
    assert "--rounds" in (shown := capsys.readouterr().out) and "spikedriven bench engine" in shown
