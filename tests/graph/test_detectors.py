"""Detectors in the spike graph: what is audited, what folding and binary steps leave equal."""

import pytest
import torch

from spikedriven import audit, expand, firing_rates, fuse, trace
from spikedriven.neurons import Neuron
from tests.models.detection.detectors import META, awake, small

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


CASCADE = pytest.param(
    "cascade_mask_rcnn", marks=pytest.mark.slow
)  # as the Mask R-CNN, three times


@pytest.mark.parametrize("name", ["mask_rcnn", CASCADE, "retinanet"])
def test_corrected_detectors_add_only_once_folded(name):
    report = audit(small(name, extra_levels=1), X)
    assert report.ok and not report.ok_as_released
    assert [row.module for row in report.encoding] == ["backbone.body.stages.0.down.conv"]


def test_every_weight_layer_is_in_the_graph():
    model = small()
    graph = trace(model, X)
    seen = {node.module for node in graph if node.op in ("conv", "linear")}
    layers = {
        n for n, m in model.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))
    }
    assert layers <= seen and graph.dynamic_batch
    pooled = [node for node in graph if node.target == "torchvision::roi_align"]
    assert len(pooled) == 2 * 4 and all(str(node.kind) == "real" for node in pooled)


def test_the_released_box_outputs_do_not_read_spikes():
    rows = {row.module: row for row in audit(small(mode="released"), X).rows}
    assert "real" in rows["roi_heads.box_predictor.fc_cls"].operands
    assert (
        "real"
        not in {row.module: row for row in audit(small(), X).rows}[
            "roi_heads.box_predictor.fc_cls"
        ].operands
    )


@pytest.mark.parametrize("name", ["mask_rcnn", "retinanet"])
def test_firing_rates_are_those_of_every_neuron(name):
    model = awake(small(name, extra_levels=1), X)
    rates = firing_rates(model, X)
    neurons = {n for n, m in model.named_modules() if isinstance(m, Neuron)}
    unused = neurons - rates.keys()
    assert unused <= {"backbone.body.head_neuron"}, (
        "the classifier's, which a detector does not have"
    )
    assert all(0 <= rate <= 1 for rate in rates.values())
    assert sum(rate > 0 for rate in rates.values()) > 0.9 * len(rates)
    last = (
        "roi_heads.mask_predictor.conv_logits"
        if name == "mask_rcnn"
        else "head.regression_head.branch.out"
    )
    read = []
    model.get_submodule(f"{last}.project").register_forward_pre_hook(
        lambda _module, args: read.append(args[0].flatten())
    )
    model.dense(X)
    assert rates[f"{last}.neuron"] == pytest.approx(
        torch.cat(read).double().mean().item(), rel=1e-6
    )


FORMS = {
    "mask_rcnn": ("mask_rcnn", {}),
    "retinanet": ("retinanet", {"extra_levels": 1}),
    "lif, time kept": ("mask_rcnn", {**META, "neuron": "lif", "keep_time": True}),
    "cascade_mask_rcnn": ("cascade_mask_rcnn", {}),
    "released cascade_mask_rcnn": ("cascade_mask_rcnn", {"mode": "released"}),
    "released mask_rcnn": ("mask_rcnn", {"mode": "released"}),
    "released retinanet": ("retinanet", {"mode": "released", "extra_levels": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_folded_and_binary_forms_are_equal(form):
    name, changes = FORMS[form]
    model = awake(small(name, **changes), X)
    # fuse and expand compare outputs in float64 themselves
    folded, binary = fuse(model, X), expand(model, X)
    if changes.get("mode") != "released":
        assert audit(folded, X).ok and audit(binary, X).ok_as_released
    else:
        assert _reads_reals(binary) == (set() if name == "retinanet" else {"fc_cls", "fc_reg"})


def _reads_reals(model):
    """The modules that do, but for the ReLUs of the released heads, each of which is in front
    of a neuron.
    """
    rows = [row.module for row in audit(model, X).rows if "real" in row.operands]
    return {
        m.rpartition(".")[2] for m in rows if not isinstance(model.get_submodule(m), torch.nn.ReLU)
    }
