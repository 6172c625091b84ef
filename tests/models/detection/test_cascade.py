"""Cascade R-CNN: what each stage is given, what it learns from, how the stages answer together."""

import pytest
import torch
from torch import nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from spikedriven.errors import InputError
from spikedriven.models.detection import cascade, create_detector
from spikedriven.models.detection.cascade import STAGES, CascadeRoIHeads, giou_loss, refined
from tests.models.detection.detectors import scenes, small

SHAPE = [(100, 100)]
ROIS = [torch.tensor([[10.0, 10.0, 30.0, 50.0], [40.0, 40.0, 80.0, 60.0]])]


class Fixed(nn.Module):
    """A part of a head that always answers the same."""

    def __init__(self, *answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, _features: torch.Tensor):
        return self.answers if len(self.answers) > 1 else self.answers[0]


def stage(
    logits: torch.Tensor, deltas: torch.Tensor, masks: torch.Tensor | None = None, rule=STAGES[0]
) -> RoIHeads:
    """A stage of two classes with given outputs, on real RoIAlign."""
    pool = MultiScaleRoIAlign(["0"], 7, 2)
    masks = torch.zeros(len(logits), 3, 28, 28) if masks is None else masks
    return RoIHeads(
        pool,
        nn.Identity(),
        Fixed(logits, deltas),
        rule.iou,
        rule.iou,
        4,
        0.25,
        rule.box_weights,
        0.0,
        0.5,
        10,
        pool,
        nn.Identity(),
        Fixed(masks),
    ).eval()


def test_the_values_of_the_two_published_configurations():
    assert [rule.iou for rule in STAGES] == [0.5, 0.6, 0.7]
    assert [rule.weight for rule in STAGES] == [1.0, 0.5, 0.25]
    model = small("cascade_mask_rcnn", proposals=20)
    assert [s.proposal_matcher.high_threshold for s in model.roi_heads.stages] == [0.5, 0.6, 0.7]
    assert [s.proposal_matcher.low_threshold for s in model.roi_heads.stages] == [0.5, 0.6, 0.7]
    stds = [[1 / w for w in s.box_coder.weights] for s in model.roi_heads.stages]
    assert stds == [pytest.approx(rule.stds) for rule in STAGES]
    assert all(len(s.box_head.shared_convs) == 4 for s in model.roi_heads.stages)
    assert all(len(s.box_head.shared_fcs) == 1 for s in model.roi_heads.stages)
    assert model.rpn._post_nms_top_n == {"training": 40, "testing": 20}


def test_parameters_of_the_published_network():
    """Behind the pyramid: proposals 0.59 M; per stage 4 x (256 x 256 x 9 + 512), the FC layer 49 x
    256 x 1024 + 1024, outputs 1025 x (81 + 320), and a mask head of 2.64 M.
    """
    with torch.device("meta"):
        model = create_detector("cascade_mask_rcnn", backbone="e_spikeformer_19m", mode="released")
    boxes = 4 * (256 * 256 * 9 + 512) + 49 * 256 * 1024 + 1024 + 1025 * (81 + 320)
    masks = 4 * (256 * 256 * 9 + 256) + 256 * 256 * 4 + 256 + 257 * 80
    found = [sum(p.numel() for p in s.parameters()) for s in model.roi_heads.stages]
    assert found == [boxes + masks] * 3


def test_box_convs_are_an_option():
    assert (
        len(small("cascade_mask_rcnn", box_convs=2).roi_heads.stages[0].box_head.shared_convs) == 2
    )
    assert len(small("mask_rcnn", box_convs=3).roi_heads.box_head.shared_convs) == 3
    with pytest.raises(InputError, match="box_convs must be at least 0, found -1"):
        small(box_convs=-1)


def test_boxes_move_by_the_deltas_of_their_class_and_stay_inside_the_image():
    """A delta of 1 means 0.1 of the width in the first stage; class 2 of the first RoI, class 1
    of the second.
    """
    logits = torch.tensor([[9.0, 0.0, 1.0], [9.0, 1.0, 0.0]])
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 2], deltas[0, 1] = torch.tensor([1.0, 0.0, 0.0, 0.0]), 5.0
    deltas[1, 1], deltas[1, 2] = torch.tensor([20.0, 0.0, 0.0, 0.0]), 5.0
    first = stage(logits, deltas.flatten(1))
    (boxes,) = refined(first, logits, deltas.flatten(1), ROIS, SHAPE)
    assert torch.allclose(
        boxes, torch.tensor([[12.0, 10.0, 32.0, 50.0], [100.0, 40.0, 100.0, 60.0]])
    )
    # in training the label decides, and the best class stands in for the background
    (boxes,) = refined(first, logits, deltas.flatten(1), ROIS, SHAPE, [torch.tensor([0, 2])])
    assert torch.allclose(boxes[0], torch.tensor([12.0, 10.0, 32.0, 50.0])) and not torch.allclose(
        boxes[1], ROIS[0][1]
    )


def test_later_stages_move_less():
    deltas = torch.zeros(2, 3, 4)
    deltas[:, 1, 0] = 1.0
    logits = torch.tensor([[0.0, 1.0, 0.0]] * 2)
    shifts = [
        (
            refined(
                stage(logits, deltas.flatten(1), rule=rule), logits, deltas.flatten(1), ROIS, SHAPE
            )[0]
            - ROIS[0]
        )[0, 0]
        for rule in STAGES
    ]
    assert torch.allclose(torch.stack(shifts), torch.tensor([2.0, 1.0, 0.66]))


def test_the_box_loss_is_ten_times_one_minus_giou_over_all_rois():
    """RoI 0 lies on its object; RoI 1 (20 x 20) is half of an object of 40 x 20: IoU 0.5 and no
    empty hull.
    """
    rois = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [40.0, 40.0, 60.0, 60.0], [0.0, 0.0, 5.0, 5.0]])]
    truth = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [40.0, 40.0, 80.0, 60.0], [0.0, 0.0, 9.0, 9.0]])]
    labels = [torch.tensor([1, 2, 0])]
    deltas = torch.zeros(3, 12, requires_grad=True)
    loss = giou_loss(stage(torch.zeros(3, 3), deltas), deltas, rois, labels, truth)
    assert loss.item() == pytest.approx(10 * 0.5 / 3, rel=1e-5)
    none = giou_loss(
        stage(torch.zeros(3, 3), deltas), deltas, rois, [torch.zeros(3, dtype=torch.int64)], truth
    )
    none.backward()
    assert none.item() == 0 and torch.equal(deltas.grad, torch.zeros(3, 12))


def test_scores_and_masks_are_means_over_the_stages_and_boxes_the_last_ones():
    logits = [torch.tensor([[0.0, a, 0.0], [0.0, 0.0, a]]) for a in (1.0, 2.0, 6.0)]
    masks = [torch.full((4, 3, 28, 28), value) for value in (-20.0, 20.0, 20.0)]
    still = torch.zeros(2, 12)
    heads = CascadeRoIHeads(
        [stage(lg, still, m, rule) for lg, m, rule in zip(logits, masks, STAGES, strict=True)]
    )
    found, losses = heads.eval()({"0": torch.zeros(1, 1, 25, 25)}, ROIS, SHAPE)
    assert losses == {} and len(found) == 1
    best = found[0]["scores"][:2]
    assert torch.allclose(best, torch.tensor([0.0, 3.0, 0.0]).softmax(0)[1].expand(2))
    assert sorted(found[0]["labels"][:2].tolist()) == [1, 2]
    assert torch.allclose(found[0]["masks"], torch.full_like(found[0]["masks"], 2 / 3), atol=1e-6)
    assert torch.allclose(found[0]["boxes"][:2].sort(0).values, ROIS[0].sort(0).values)


def test_losses_carry_the_weights_of_their_stages(monkeypatch):
    model = small("cascade_mask_rcnn").train()
    images, targets = scenes((64, 64))
    torch.manual_seed(1)
    weighted = model(images, targets)
    names = {
        f"s{i}.{name}"
        for i in range(3)
        for name in ("loss_classifier", "loss_box_reg", "loss_mask")
    }
    assert weighted.keys() == names | {"loss_objectness", "loss_rpn_box_reg"}
    model = small("cascade_mask_rcnn").train()
    rules = tuple(cascade.StageRule(rule.iou, 1.0, rule.stds) for rule in STAGES)
    monkeypatch.setattr(cascade, "STAGES", rules)
    torch.manual_seed(1)
    plain = model(images, targets)
    for name in names:
        share = STAGES[int(name[1])].weight
        assert torch.allclose(weighted[name], share * plain[name], rtol=1e-4), name


def test_every_stage_learns_from_the_boxes_of_the_stage_before_it():
    model = small("cascade_mask_rcnn").train()
    images, targets = scenes((64, 64))
    given = []
    for head in model.roi_heads.stages:
        head.select_training_samples, original = None, head.select_training_samples

        def watched(proposals, targets, original=original):
            given.append(proposals[0].clone())
            return original(proposals, targets)

        head.select_training_samples = watched
    torch.manual_seed(1)
    model(images, targets)
    assert len(given) == 3 and all(len(boxes) for boxes in given)
    for boxes in given[1:]:
        assert not (boxes[:, None] == targets[0]["boxes"][None]).all(2).any(), (
            "objects are added by each stage itself"
        )
        assert boxes.min() >= 0 and boxes.max() <= 64


def test_boxes_are_moved_in_float32_under_autocast():
    """In bfloat16 the corners of a box at 1000 would be 4 pixels apart."""
    deltas, logits = (
        torch.zeros(1, 12, dtype=torch.bfloat16),
        torch.tensor([[0.0, 1.0, 0.0]]).bfloat16(),
    )
    rois, shapes = [torch.tensor([[1001.0, 1003.0, 1051.0, 1057.0]])], [(1200, 1200)]
    first = stage(logits, deltas)
    found = cascade.boxes_of(first, {"0": torch.zeros(1, 1, 300, 300)}, rois, shapes)
    assert {value.dtype for value in found} == {torch.float32}
    assert torch.equal(refined(first, *found, rois, shapes)[0], rois[0])
