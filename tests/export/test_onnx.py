"""ONNX files: the same function in onnxruntime, for any batch, with plain operators only."""

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import InputError
from spikedriven.export import export_onnx
from spikedriven.export.onnx import need
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons import LIF, ParametricLIF
from spikedriven.runs.target import random_batch
from tests.built import build_weights
from tests.graph.networks import Attention, Mask, Net, images, integer
from tests.models.detection.detectors import awake
from tests.models.detection.detectors import small as small_detector

SMALL = {"img_size": 16, "num_classes": 5, "time_steps": 1}
#: Every family, thinned out: the operators are those of the full networks.
FAMILIES = {
    "sdt_2_256_cifar": {"embed_dim": 32, "depth": 1},
    "sdt_2_256_cifar10dvs": {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 1},
    "spikingformer_2_384_cifar": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    "spikformer_4_384_cifar": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    "qkformer_4_384_cifar": {"embed_dim": 32, "depths": (1, 1, 1), "num_heads": 2},
    "meta_spikeformer_15m": {
        "embed_dims": (8, 16, 16, 16),
        "depths": (1, 1, 1, 1, 1),
        "num_heads": 2,
    },
    "e_spikeformer_3m": {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2},
    "e_spikeformer_83m": {"embed_dims": (8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": 2},
}


def check(model, batch, path):
    """The file computes what the model computes, for batches of other sizes too."""
    report = export_onnx(model, batch, path)
    assert report.ok and report.images == len(batch) + 1 and path.stat().st_size > 0
    assert {opset.domain for opset in onnx.load(path).opset_import} == {""}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    bigger = torch.cat([batch, batch.flip(0), batch])
    with torch.no_grad(), as_graphed(model):
        expected = model(bigger)
    found = torch.from_numpy(session.run(None, {"input": bigger.numpy()})[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    return report


@pytest.mark.parametrize(
    "model",
    [
        lambda: Net(nn.Sequential(Attention(), Mask()), neuron=ParametricLIF),
        lambda: Net(Attention(neuron=integer()), neuron=integer()),
        lambda: Net(neuron=lambda: LIF(v_reset=None, decay_input=False, tau=1.7)),
    ],
    ids=["plif", "integer", "soft-reset"],
)
def test_small_networks(model, tmp_path):
    model, batch = model(), images(3)
    build_weights(model)
    report = check(model, batch, tmp_path / "net.onnx")
    assert report.largest_output > 0.01
    assert "same top-1 100.0%" in str(report)


#: Blocks of others, with other neurons, widths or sums.
SLOW = (
    "meta_spikeformer_15m",
    "e_spikeformer_83m",
    "qkformer_4_384_cifar",
    "sdt_2_256_cifar10dvs",
    "spikformer_4_384_cifar",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in FAMILIES]
)
def test_every_family(name, tmp_path):
    size = {} if name.startswith("sdt_2_256_cifar10dvs") else SMALL
    model = sd.create_model(name, **size, **FAMILIES[name])
    batch = random_batch(model, 2)
    build_weights(model)
    check(model, batch, tmp_path / "net.onnx")


def test_a_detector(tmp_path):
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = awake(small_detector("retinanet", extra_levels=0, out_indices=(2,)), batch)
    report = export_onnx(model, batch, tmp_path / "net.onnx")
    assert report.ok and report.largest_output > 1
    assert report.largest_difference < 1e-4, "NaN would not be"


def test_the_encoder_of_a_masked_autoencoder(tmp_path):
    """Its forward hides patches at random; the file holds what an image without hidden patches
    becomes.
    """
    model = sd.create_model(
        "spike_mae_12_512", img_size=32, embed_dims=(8, 16, 16), depths=(1, 1, 1, 1), num_heads=2
    ).eval()
    report = check(model, random_batch(model, 2), tmp_path / "net.onnx")
    assert report.largest_output > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", sd.list_models())
def test_every_registered_name(name, tmp_path):
    """Same top-1; spikes may flip where float32 sums lie on a threshold, so logits are close,
    not equal.
    """
    model = sd.create_model(
        name, **({} if "dvs" in name or "cifar" in name or "gesture" in name else {"img_size": 64})
    )
    batch = random_batch(model, 2)
    build_weights(model)
    report = export_onnx(model, batch, tmp_path / "net.onnx")
    assert report.ok, str(report)


def test_a_difference_is_reported(tmp_path, monkeypatch):
    """The check runs the file: a file that computes something else is not ok."""
    model, batch = Net(Mask()), images(8)
    build_weights(model)
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(
        onnxruntime.InferenceSession, "run", lambda *a: [-output for output in run(*a)]
    )
    report = export_onnx(model, batch, tmp_path / "net.onnx")
    assert not report.ok and report.same_top1 < 0.5


def test_a_file_that_is_too_large_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("spikedriven.export.onnx.LARGEST_FILE", 100)
    with pytest.raises(InputError, match="one file holds at most 2"):
        export_onnx(Net(), images(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["weights", "input"])
def test_bfloat16_is_refused_and_leaves_no_file(what, tmp_path):
    model = Net().bfloat16() if what == "weights" else Net()
    batch = images() if what == "weights" else images().bfloat16()
    with pytest.raises(
        InputError, match=r"is bfloat16, which onnxruntime cannot run: write the model in float32"
    ):
        export_onnx(model, batch, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_onnxruntime_does_not_take_is_not_written(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented("no kernel for it")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(
        InputError, match="cannot run this network, so no file is written: no kernel for it"
    ):
        export_onnx(Net(), images(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_says_how_to_get_it():
    with pytest.raises(
        InputError, match=r"needs surely_not_installed: pip install 'spikedriven\[export\]'"
    ):
        need("surely_not_installed")


def test_an_unknown_operator_is_named(tmp_path):
    class Sums(nn.Module):
        def forward(self, x):
            return x.cumsum(1)

    with pytest.raises(InputError, match="aten::cumsum"):
        export_onnx(Sums(), images(), tmp_path / "net.onnx")
