"""The release's key names: read from its modules (no detector has been published), complete and
reversible.
"""

import pytest
import torch

from spikedriven.models.official import load_official, official_state_dict
from tests.models.detection.detectors import small

EXAMPLES = {
    "backbone.body.stages.0.down.conv.weight": "backbone.downsample1_1.encode_conv.weight",
    "backbone.neck.lateral_convs.2.project.weight": "neck.lateral_convs.2.1.0.conv.weight",
    "backbone.neck.fpn_convs.3.project.bias": "neck.fpn_convs.3.1.0.conv.bias",
    "rpn.head.rpn_conv.project.weight": "rpn_head.rpn_conv.1.0.weight",
    "rpn.head.rpn_reg.project.bias": "rpn_head.rpn_reg.1.0.bias",
    "roi_heads.box_head.shared_fcs.1.project.weight": "roi_head.bbox_head.shared_fcs.1.1.0.weight",
    "roi_heads.box_predictor.fc_cls.weight": "roi_head.bbox_head.fc_cls.weight",
    "roi_heads.mask_head.convs.2.project.weight": "roi_head.mask_head.convs.1.1.0.conv.weight",
    "roi_heads.mask_predictor.upsample.project.weight": "roi_head.mask_head.upsample.1.0.weight",
    "roi_heads.mask_predictor.conv_logits.project.bias": "roi_head.mask_head.conv_logits.1.0.bias",
}
CASCADE = {
    "rpn.head.rpn_cls.project.weight": "rpn_head.rpn_cls.1.0.weight",
    "roi_heads.stages.0.box_head.shared_convs.6.project.conv.weight":
        "roi_head.bbox_head.0.shared_convs.3.1.0.conv.weight",
    "roi_heads.stages.1.box_head.shared_convs.2.project.bn.running_var":
        "roi_head.bbox_head.1.shared_convs.1.1.0.bn.running_var",
    "roi_heads.stages.2.box_head.shared_fcs.0.project.bias":
        "roi_head.bbox_head.2.shared_fcs.0.1.0.bias",
    "roi_heads.stages.2.box_predictor.fc_reg.weight": "roi_head.bbox_head.2.fc_reg.weight",
    "roi_heads.stages.1.mask_head.convs.0.project.bias":
        "roi_head.mask_head.1.convs.0.1.0.conv.bias",
    "roi_heads.stages.0.mask_predictor.conv_logits.project.weight":
        "roi_head.mask_head.0.conv_logits.1.0.weight",
}  # fmt: skip
RETINA = {
    "backbone.neck.extra_convs.1.project.weight": "neck.fpn_convs.4.1.0.conv.weight",
    "head.classification_head.branch.convs.2.project.weight": "bbox_head.cls_convs.3.0.conv.weight",
    "head.regression_head.branch.out.project.weight": "bbox_head.retina_reg.0.weight",
}
HEADS = {
    "mask_rcnn": {"rpn_head", "roi_head"},
    "cascade_mask_rcnn": {"rpn_head", "roi_head"},
    "retinanet": {"bbox_head"},
}


@pytest.mark.parametrize(
    ("name", "examples"),
    [("mask_rcnn", EXAMPLES), ("cascade_mask_rcnn", CASCADE), ("retinanet", RETINA)],
)
def test_names(name, examples):
    model = small(name, mode="released", convs=2)
    state = model.state_dict()
    names = model.official_names()
    assert {
        key: names.theirs(key) for key in examples
    } == examples and examples.keys() <= state.keys()
    theirs = [names.theirs(key) for key in state]
    assert len(set(theirs)) == len(state)
    assert {key.split(".")[0] for key in theirs} == {"backbone", "neck", *HEADS[name]}
    assert not [key for key in theirs if "project" in key]


@pytest.mark.parametrize("name", HEADS)
def test_their_files_come_back(name):
    model = small(name, mode="released")
    weights = {key: torch.randn_like(value) if value.is_floating_point() else value
               for key, value in official_state_dict(model).items()}  # fmt: skip
    report = load_official(model, weights)
    assert report.spelling == "authors" and len(report.loaded) == len(weights)
    assert all(torch.equal(v, weights[k]) for k, v in official_state_dict(model).items())
