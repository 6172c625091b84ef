"""Every registered name has a graph, and the audit says of each family what its papers and
releases imply.
"""

import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.graph.audit import audit
from spikedriven.graph.expand import expand
from spikedriven.graph.fuse import fuse

#: Families whose classifier reads real-valued means.
MEANS = ("spikingformer", "spikformer", "qkformer")
THIN = {"embed_dims": (8, 16, 16, 16), "depths": (1, 1, 1, 1, 1), "num_heads": 2}
THIN_LARGE = {"embed_dims": (8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": 2}
#: One network of each kind, thinned out; the slow test takes every name as it is.
THINNED = {
    "sdt_8_512": {"embed_dim": 32, "depth": 1},
    "sdt_2_256_cifar10dvs": {"embed_dim": 32, "depth": 1, "num_heads": 2, "time_steps": 2},
    "spikingformer_8_512": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    "spikformer_8_512": {"embed_dim": 32, "depth": 2, "num_heads": 2},
    "qkformer_10_512": {"embed_dim": 32, "depths": (1, 1, 2), "num_heads": 2},
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
    first = next(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    assert [row.module for row in report.encoding] == [first]
    findings = [row.module for row in report.findings]
    reads_means = name.startswith(MEANS) or name in ("e_spikeformer_83m", "e_spikeformer_171m")
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spikformer_8_512", [2, 3, 4, 5]),  # behind the stem's sum, and two more sums a block
        ("qkformer_10_512", [2, 3, 4, 2, 3, 4, 2, 3, 4, 5]),  # a patch embedding begins anew
    ],
)
def test_counts_of_added_spikes_grow_with_depth(name, expected):
    """Residuals that add spikes to spikes: the audit says what the weight layers read."""
    model = build(name, THINNED[name])
    readers = ("attn.q.project.conv", "fc1.project.conv", "rows.0.project.project.conv")
    rows = [r for r in audit(model, model.example_input()).rows if r.module.endswith(readers)]
    counting = [row for row in rows if row.operands != ("spike",)]
    assert [row.operands for row in counting] == [(f"count 0..{most}",) for most in expected]
    added = "a count n adds its row n times (n up to {})"
    assert [row.why for row in counting] == [added.format(most) for most in expected]


@pytest.mark.slow
@pytest.mark.parametrize("name", sd.list_models())
def test_every_registered_name(name):
    check(name, build(name, {}))


@pytest.mark.parametrize(
    "name",
    [
        "sdt_8_512",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("spikingformer_8_512", "meta_spikeformer_15m")
        ),
        "e_spikeformer_171m",
    ],
)
def test_folding_keeps_the_promise(name):
    """What the audit says of the released form is what it finds in the folded and expanded
    network.
    """
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
