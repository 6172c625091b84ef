"""`bench train`: contestants compute the same step, and the table says what was measured."""

import copy
import json

import pytest
import torch

import spikedriven as sd
from spikedriven.bench.contest import choose
from spikedriven.bench.contestants import Contestant, Task
from spikedriven.bench.eager import EagerNeuron, released_neurons, spikingjelly_neurons
from spikedriven.bench.neuron import measure_neuron
from spikedriven.bench.subject import load_inputs
from spikedriven.bench.training import CONTESTANTS, Step, measure, read_step, write_subject
from spikedriven.cli.bench import run
from spikedriven.errors import InputError
from spikedriven.kernels.norm import can_norm
from spikedriven.neurons import IntegerNeuron
from spikedriven.neurons.watch import neurons_of

SMALL = Step("sdt_2_256_cifar", 4, (("embed_dim", 32), ("img_size", 16)))


def test_a_step_comes_back_from_its_folder(tmp_path):
    step = Step("e_spikeformer_3m", 2, (("embed_dims", (16, 16, 32, 32)), ("img_size", 32)))
    write_subject(tmp_path / "step", step)
    assert read_step(tmp_path / "step") == step
    images, labels = load_inputs(tmp_path / "step")
    assert images.shape == (2, 3, 32, 32) and labels.tolist() == [0, 1]


@pytest.fixture
def in_float64():
    """Networks are made in float64: where float32 rounds, spikes of these would flip, and a
    loss with them.
    """
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses(names, folder):
    write_subject(folder, SMALL)
    task = Task(folder, 1, SMALL.batch)
    images = load_inputs(task.folder)[0].to(torch.get_default_dtype())
    return [CONTESTANTS[name].load(task)(images) for name in names]


def test_contestants_start_from_the_same_loss(in_float64, tmp_path):
    ours, released = losses(["ours", "released"], tmp_path / "step")
    assert ours.shape == (1,)
    # the loss itself is taken in float32
    torch.testing.assert_close(ours, released, rtol=4 * 2.0**-23, atol=0)


@pytest.mark.parametrize("name", ["ours-recompute", "released-bf16", "ours-bf16"])
def test_contestants_in_bfloat16_start_near_it(name, tmp_path):
    loss, expected = losses([name, "released"], tmp_path / "step")
    assert loss.shape == (1,)
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["sdt_2_256_cifar", "e_spikeformer_3m"])
def test_eager_neurons_take_every_place_and_compute_the_same(name):
    options = {"img_size": 32, "embed_dim": 32} if name.startswith("sdt") else {"img_size": 32}
    model = sd.create_model(name, **options).double().eval()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    expected = model(x)
    neurons = neurons_of(model).keys()
    released_neurons(model)
    assert neurons_of(model).keys() == neurons
    assert {type(neuron) for neuron in neurons_of(model).values()} == {EagerNeuron}
    torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)
    narrow = copy.deepcopy(model).float().modules()  # PyTorch's norms run too
    assert not any(can_norm(module.train(), x.float()) for module in narrow)


def test_spikingjellys_neurons_are_lif_only():
    with pytest.raises(InputError, match="IntegerNeuron"):
        spikingjelly_neurons(torch.nn.Sequential(IntegerNeuron()))


def test_measuring_two(tmp_path):
    results = measure(
        tmp_path / "step",
        SMALL,
        choose(CONTESTANTS, ["ours-bf16", "released"]),
        threads=1,
        rounds=2,
    )
    assert [result.name for result in results] == ["ours-bf16", "released"]
    for result in results:
        assert result.status == "measured" and len(result.times_ms) == 2 and result.memory.own > 0
    bits, floats = (result.memory.tensors for result in results)
    assert 0 < bits < 0.5 * floats
    assert results[0].slower.median == 1.0 and results[1].top1_agreement is None


def load_once(task: Task):
    """As the releases run it; but when memory is measured, the network is made a second time."""
    (task.folder / "loaded").mkdir()
    return CONTESTANTS["released"].load(task)


@pytest.mark.slow
def test_one_that_fails_when_memory_is_measured_leaves_the_others_their_rows(tmp_path):
    contestants = {
        "ours-bf16": CONTESTANTS["ours-bf16"],
        "once": Contestant("a second time is too much", load_once),
    }
    ours, once = measure(tmp_path / "step", SMALL, contestants, threads=1, rounds=1)
    assert ours.status == "measured" and ours.memory.tensors > 0
    assert (
        once.status == "failed"
        and once.reason.startswith("FileExistsError")
        and once.milliseconds is None
    )


def test_a_neuron_alone():
    cost = measure_neuron(threads=1, rounds=3, elements=2**12)
    assert cost.neuron.median > 0 and cost.copy.median > 0
    assert cost.ratio.q1 <= cost.ratio.median <= cost.ratio.q3


def test_the_command_prints_json(capsys):
    words = [
        "--model",
        "e_spikeformer_3m",
        "--img-size",
        "32",
        "--batch",
        "2",
        "--rounds",
        "1",
        "--threads",
        "1",
    ]
    assert run(["train", *words, "--only", "ours", "--no-neuron", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["contestants"][0]["name"] == "ours" and report["neuron"] is None
    assert (
        report["contestants"][0]["memory"]["tensors"] > 0
        and report["machine"]["GPU"] == "none used"
    )


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU here; choose cpu"):
        run(["train", "--device", "cuda"])


@pytest.mark.parametrize("words, message", [
    (["--only", "theirs"], "no contestant is called theirs"),
    (["--rounds", "0"], "at least 1 of each"),
    (["--batch", "0"], "at least 1"),
])  # fmt: skip
def test_what_cannot_be_measured(words, message):
    with pytest.raises(InputError, match=message):
        run(["train", *words])
