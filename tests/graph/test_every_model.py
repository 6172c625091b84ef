"""Every registered name has a graph, and the audit says of each family what its papers and releases imply."""

import pytest
import torch

import spikedriven as sd
from spikedriven.graph.audit import audit
from spikedriven.graph.expand import expand
from spikedriven.graph.fuse import fuse

THIN = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2}
THIN_LARGE = {"embed_dims": (8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": 2}
#: One network of each kind, thinned out; the slow test takes every name as it is.
THINNED = {
    "sdt_8_512": {"embed_dim": 32, "depth": 1},
    "sdt_2_256_cifar10dvs": {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 2},
    "spikingformer_8_512": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    "meta_spikeformer_15m": THIN,
    "e_spikeformer_3m": THIN,
    "e_spikeformer_hardvs_19m": THIN,
    "e_spikeformer_83m": THIN_LARGE,
    "e_spikeformer_171m": THIN_LARGE,
    "spike_mae_12_512": THIN_LARGE,
}


def build(name, keywords):
    """Without memory for weights: an audit reads none."""
    size = {} if any(word in name for word in ("cifar", "dvs", "gesture")) else {"img_size": 64}
    with torch.device("meta"):
        model = sd.create_model(name, **size, **keywords)
    return model.eval()


def check(name, model):
    report = audit(model, model.example_input())
    encoding = ["stages.0.down.conv", "stem.0.project.conv", "stem.0.conv"]
    assert [row.module for row in report.encoding] == [
        e for e in encoding if e in {r.module for r in report.encoding}
    ]
    assert len(report.encoding) == 1
    findings = [row.module for row in report.findings]
    reads_means = name.startswith("spikingformer") or name in (
        "e_spikeformer_83m",
        "e_spikeformer_171m",
    )
    assert findings == (["head"] if reads_means else [])
    assert report.ok_as_released == name.startswith("sdt")
    chains = {
        row.module.rpartition(".")[2]
        for row in report.folded
        if row.op == "conv" and "chain" in row.why
    }
    if name.startswith("meta"):  # depthwise -> pointwise, and the inside of a RepConv
        assert chains == {"conv", "depthwise", "last"}
    scales = [row for row in report.folded if row.op == "scale" and "threshold" in row.why]
    attentions = [row for row in report.rows if row.op == "matmul"]
    assert len(scales) == len(attentions) // 2


@pytest.mark.parametrize("name", THINNED)
def test_a_network_of_each_kind(name):
    check(name, build(name, THINNED[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sd.list_models())
def test_every_registered_name(name):
    check(name, build(name, {}))


@pytest.mark.parametrize(
    "name", ["sdt_8_512", "spikingformer_8_512", "meta_spikeformer_15m", "e_spikeformer_171m"]
)
def test_folding_keeps_the_promise(name):
    """What the audit says of the released form is what it finds in the folded and expanded network."""
    model = sd.create_model(name, img_size=32, **THINNED[name]).eval()
    before = audit(model, model.example_input())
    fused, expanded = (audit(f(model, check=False), model.example_input()) for f in (fuse, expand))
    for after in (fused, expanded):
        assert after.ok == before.ok
        assert not any(row.op == "batchnorm" for row in after.rows)
        convs = [row for row in after.rows if row.op == "conv"]
        assert [row.module for row in convs if row.classed == "real x weight"] == [
            after.encoding[0].module
        ]
    assert not expanded.folded
    assert {kind for row in expanded.rows if row.op == "conv" for kind in row.operands} == {
        "input",
        "spike",
    }
