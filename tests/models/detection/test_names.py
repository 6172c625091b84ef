"""MMDetection's key names: derived (no detector has been published), but complete and reversible."""

import pytest
import torch

from spikedriven.models.official import load_official, official_state_dict
from tests.models.detection.detectors import small

EXAMPLES = {
    "backbone.body.stages.0.down.conv.weight": "backbone.downsample1_1.encode_conv.weight",
    "backbone.neck.lateral_convs.2.project.weight": "neck.lateral_convs.2.conv.weight",
    "backbone.neck.fpn_convs.3.project.bias": "neck.fpn_convs.3.conv.bias",
    "rpn.head.rpn_conv.project.weight": "rpn_head.rpn_conv.weight",
    "rpn.head.rpn_reg.project.bias": "rpn_head.rpn_reg.bias",
    "roi_heads.box_head.shared_fcs.1.project.weight": "roi_head.bbox_head.shared_fcs.1.weight",
    "roi_heads.box_predictor.fc_cls.weight": "roi_head.bbox_head.fc_cls.weight",
    "roi_heads.mask_head.convs.2.project.weight": "roi_head.mask_head.convs.1.conv.weight",
    "roi_heads.mask_predictor.upsample.project.weight": "roi_head.mask_head.upsample.weight",
    "roi_heads.mask_predictor.conv_logits.project.bias": "roi_head.mask_head.conv_logits.bias",
}
RETINA = {
    "backbone.neck.extra_convs.1.project.weight": "neck.fpn_convs.4.conv.weight",
    "head.classification_head.branch.convs.2.project.weight": "bbox_head.cls_convs.1.conv.weight",
    "head.regression_head.branch.out.project.weight": "bbox_head.retina_reg.weight",
}


@pytest.mark.parametrize(("name", "examples"), [("mask_rcnn", EXAMPLES), ("retinanet", RETINA)])
def test_names(name, examples):
    model = small(name, mode="released", convs=2)
    state = model.state_dict()
    names = model.official_names()
    assert {key: names.theirs(key) for key in examples} == examples and examples.keys() <= state.keys()
    theirs = [names.theirs(key) for key in state]
    assert len(set(theirs)) == len(state)
    heads = {"backbone", "neck", "rpn_head", "roi_head"} if name == "mask_rcnn" else {"backbone", "neck", "bbox_head"}
    assert {key.split(".")[0] for key in theirs} == heads


@pytest.mark.parametrize("name", ["mask_rcnn", "retinanet"])
def test_their_files_come_back(name):
    model = small(name, mode="released")
    weights = {key: torch.randn_like(value) if value.is_floating_point() else value
               for key, value in official_state_dict(model).items()}  # fmt: skip
    report = load_official(model, weights)
    assert report.spelling == "authors" and len(report.loaded) == len(weights)
    assert all(torch.equal(v, weights[k]) for k, v in official_state_dict(model).items())
