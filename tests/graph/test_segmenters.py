"""Segmenters in the spike graph: what is promised of classifiers holds for them."""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.models.segmentation import create_segmenter
from spikedriven.models.segmentation.semantic_fpn import resize
from tests.networks import enliven

THIN = {
    "embed_dims": (8, 16, 16, 16),
    "depths": (1, 1, 1, 1, 1),
    "num_heads": 2,
    "mlp_ratio": 1,
    "img_size": 64,
}
NETWORKS = {
    "corrected": {"backbone": "e_spikeformer_3m", "backbone_args": THIN},
    "layer scale": {"backbone": "e_spikeformer_3m", "backbone_args": {**THIN, "layer_scale": 0.5}},
    "released": {"backbone": "e_spikeformer_3m", "backbone_args": THIN, "mode": "released"},
    "fcn": {"name": "fcn", "convs": 1, "backbone": "e_spikeformer_3m", "backbone_args": THIN},
    "lif, time kept": {
        "backbone": "meta_spikeformer_15m",
        "backbone_args": {**THIN, "time_steps": 2},
        "neuron": "lif",
        "keep_time": True,
    },
    "lif, integer head": {
        "backbone": "sdt_8_512",
        "backbone_args": {
            "embed_dim": 32,
            "depth": 1,
            "num_heads": 2,
            "time_steps": 2,
            "img_size": 64,
        },
    },
}


def live(name):
    width = {} if name == "fcn" else {"width": 16}
    return enliven(create_segmenter(num_classes=5, **width, **NETWORKS[name]).double()).eval()


def images(batch=2):
    return torch.randn(
        batch, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_audit(name):
    report = sd.audit(live(name), images())
    assert len(report.encoding) == 1 and report.encoding[0].module.startswith("backbone.")
    if name == "released":
        assert {row.op for row in report.findings} == {"interpolate"} and len(report.findings) == 6
        assert all(row.module.startswith("head.scale_heads") for row in report.findings)
    else:
        assert report.ok


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("lif, time kept", "layer scale", "released", "fcn")
    ],
)
def test_fused_and_expanded_networks_compute_the_same(name):
    """`fuse` and `expand` check every neuron and the logits themselves; here the whole forward,
    image-sized.
    """
    model, x = live(name), images()
    expected = model(x)
    for made in (sd.fuse(model), sd.expand(model)):
        assert (made(x) - expected).abs().max() < 1e-9 * expected.abs().max()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())


def test_the_expanded_network_reads_binary_spikes_only():
    report = sd.audit(sd.expand(live("corrected"), check=False), images())
    assert report.ok_as_released and not report.folded
    assert {kind for row in report.rows if row.op == "conv" for kind in row.operands} == {
        "input",
        "spike",
    }


@pytest.mark.parametrize(
    "name", ["corrected", pytest.param("lif, time kept", marks=pytest.mark.slow)]
)
def test_rates_and_energy(name):
    model, x = live(name), images(3)
    rates = sd.firing_rates(model, x)
    parts = {key.partition(".")[0] for key in rates}
    assert parts == {"backbone", "neck", "head"} and all(0 <= rate <= 1 for rate in rates.values())
    assert sum(key.startswith("head") for key in rates) == 7 + 1 and max(rates.values()) > 0
    report = sd.energy(model, x)
    classify = next(row for row in report.rows if row.name == "head.classify.project")
    steps = 2 if "time" in name else 1
    assert classify.flops == steps * 5 * 16 * 32 * 32 and report.total_mj > 0


def test_the_graph_ends_at_the_dense_logits():
    model, x = live("corrected"), images()
    graph = sd.trace(model, x)
    assert graph[graph.outputs[0]].shape[1:] == (5, 32, 32)
    assert torch.equal(model(x), resize(model.dense_logits(x), (64, 64)))


@pytest.mark.slow
def test_onnx(tmp_path):
    model = live("corrected").float()
    report = sd.export_onnx(model, images().float(), tmp_path / "net.onnx")
    assert report.same_top1 > 0.999 and report.largest_output > 0.1
