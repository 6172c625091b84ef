"""Each way to run a network, in this process: what it computes."""

import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.bench.contestants import CONTESTANTS, Task
from spikedriven.bench.subject import load_inputs, load_model, make_subject
from spikedriven.runs.target import Target
from tests.built import build_weights

INSTALLED = [name for name, contestant in CONTESTANTS.items() if contestant.installed]
#: Too few bits for the distance that `build_weights` keeps from thresholds: spikes flip, which the
#: outputs then show.
COARSE = ("compile-bf16", "onnxruntime-int8")
#: Programs have the bits of the quantized network, which is another one than the float network.
QUANTIZED = {"engine": 8, "engine-16": 16}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """One thread, as a contestant's process would have."""
    folder = tmp_path_factory.mktemp("bench")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = build_weights(sd.create_model("sdt_2_256_cifar", img_size=16, time_steps=1))
    checkpoint = folder / "built.safetensors"
    safetensors.torch.save_file(model.state_dict(), checkpoint)
    target = Target("sdt_2_256_cifar", checkpoint, img_size=16, time_steps=1)
    make_subject(folder / "subject", target, inputs=4)
    yield Task(folder / "subject", threads=1, batch=2)
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n.startswith("compile") else n for n in INSTALLED],
)
def test_outputs(name, task, request):
    contestant = CONTESTANTS[name]
    if contestant.prepare is not None:
        contestant.prepare(task)
    run, (inputs, expected) = contestant.load(task), load_inputs(task.folder)
    found = run(inputs[:2])
    assert found.shape == expected[:2].shape and found.dtype == torch.float32
    assert torch.equal(run(inputs[:2]), found)
    assert not torch.equal(run(inputs[2:]), found)
    if name in QUANTIZED:
        small = sd.quantize(load_model(task.folder), task.example(), QUANTIZED[name])
        assert torch.equal(found, small(inputs[:2]))
        return
    error = (found - expected[:2]).norm() / expected[:2].norm()
    # 1.4 where outputs have nothing to do with each other
    assert error < (1.0 if name in COARSE else 1e-3), error
