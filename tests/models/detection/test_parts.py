"""Pyramid, anchors, RoI pooling and neurons of the two modes."""

import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, roi_align

from spikedriven.layers import ConvBN
from spikedriven.models.detection.anchors import PyramidRoIAlign, StrideAnchors, octave_scales
from spikedriven.models.detection.detectors import lattice
from spikedriven.models.detection.parts import ClippingNeuron, ShuffleUp
from spikedriven.models.detection.pyramid import pyramid_levels
from spikedriven.neurons import IntegerNeuron
from tests.models.detection.detectors import small


def test_the_released_pyramid_clips_at_one_in_evaluation_only():
    neuron = ClippingNeuron(levels=4, norm=1.0)
    x = torch.tensor([-1.0, 0.4, 0.6, 1.6, 3.2, 9.0])
    assert neuron.train()(x).tolist() == [0, 0, 1, 2, 3, 4]
    assert neuron.levels == 4
    assert neuron.eval()(x).tolist() == [0, 0, 1, 1, 1, 1]
    assert neuron.levels == 1


def test_modes_differ_as_documented():
    released, corrected = small(mode="released"), small()
    assert released.rpn.anchor_generator.strides == (
        4,
        8,
        16,
        32,
        64,
    )  # of maps with strides 4, 8, 16, 16, 32
    assert corrected.rpn.anchor_generator.strides == (4, 8, 16, 32, 64)
    sizes = {m: [v.shape[-1] for v in model.backbone(torch.zeros(1, 3, 128, 128)).values()]
             for m, model in (("released", released), ("corrected", corrected))}  # fmt: skip
    assert sizes == {"released": [32, 16, 8, 8, 4], "corrected": [32, 16, 8, 4, 2]}
    norms = {m.norm for m in corrected.modules() if isinstance(m, IntegerNeuron) and m.levels == 4}
    heads = {
        m.norm
        for n, m in released.named_modules()
        if isinstance(m, IntegerNeuron) and "body" not in n
    }
    assert heads == {1.0} and norms == {
        1.0,
        4.0,
    }  # 1: in front of the classifier, which a detector does not have
    neck = [m for m in released.backbone.neck.modules() if isinstance(m, IntegerNeuron)]
    assert neck and all(isinstance(m, ClippingNeuron) for m in neck)


def test_taps_of_one_stride_share_a_level():
    assert pyramid_levels([4, 8, 16, 16]) == ([0, 1, 2, 2], [4, 8, 16])
    model = small()
    neck = model.backbone.neck
    taps = [20 * torch.randn(1, 1, c, s, s) for c, s in ((16, 16), (16, 8), (32, 4), (32, 4))]
    maps = neck(taps)
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2, 1]
    assert torch.equal(maps[3], maps[2][..., ::2, ::2])
    moved = [*taps[:2], torch.zeros_like(taps[2]), taps[3]]  # both taps count
    assert not torch.equal(neck(moved)[2], maps[2])
    moved = [*taps[:3], torch.zeros_like(taps[3])]
    assert not torch.equal(neck(moved)[0], maps[0])


def test_anchors_are_centred_on_their_cells_and_as_large_as_asked():
    anchors = StrideAnchors((4, 8), (8.0,), (0.5, 1.0, 2.0))
    images = ImageList(torch.zeros(2, 3, 20, 24), [(20, 24)] * 2)
    found = anchors(images, [torch.zeros(2, 1, 5, 6), torch.zeros(2, 1, 3, 3)])
    assert (
        len(found) == 2 and found[0].shape == (3 * (30 + 9), 4) and torch.equal(found[0], found[1])
    )
    sides = found[0][:, 2:] - found[0][:, :2]
    torch.testing.assert_close(sides.prod(1)[:90], torch.full((90,), 32.0**2))
    torch.testing.assert_close((sides[:, 1] / sides[:, 0])[:3], torch.tensor([0.5, 1.0, 2.0]))
    centres = (found[0][:, 2:] + found[0][:, :2]) / 2
    torch.testing.assert_close(
        centres[3 * 7], torch.tensor([4.0, 4.0])
    )  # second row, second column, stride 4
    torch.testing.assert_close(centres[90 + 3], torch.tensor([8.0, 0.0]))
    assert octave_scales() == pytest.approx([4.0, 5.0396842, 6.3496042])


def test_roi_align_agrees_with_torchvision_per_level():
    torch.manual_seed(0)
    maps = {"0": torch.randn(2, 3, 32, 32), "1": torch.randn(2, 3, 16, 16)}
    boxes = [
        torch.tensor([[3.0, 5.0, 60.0, 90.0], [0.0, 0.0, 127.0, 120.0]]),
        torch.tensor([[40.0, 8.0, 90.0, 70.0]]),
    ]
    pool = PyramidRoIAlign((4, 8), 7, 2)
    found = pool(maps, boxes, [(128, 128)] * 2)
    levels = pool.level_of(torch.cat(boxes))
    reference = MultiScaleRoIAlign(["0", "1"], 7, 2)
    reference(maps, boxes, [(128, 128)] * 2)
    assert levels.tolist() == reference.map_levels(boxes).tolist() == [0, 1, 0]
    for i, (image, box) in enumerate(((0, boxes[0][0]), (0, boxes[0][1]), (1, boxes[1][0]))):
        level = int(levels[i])
        roi = torch.cat([torch.tensor([float(image)]), box])[None]
        expected = roi_align(maps[str(level)], roi, 7, 1 / (4, 8)[level], 2, aligned=True)
        torch.testing.assert_close(found[i : i + 1], expected)


def test_roi_align_repeats_boxes_over_time():
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    boxes = [
        torch.tensor([[3.0, 5.0, 40.0, 50.0]]),
        torch.tensor([[4.0, 8.0, 30.0, 60.0], [0.0, 0.0, 64.0, 64.0]]),
    ]
    pool = PyramidRoIAlign((4,), 7, 2)
    both = pool({"0": torch.cat([first, second])}, boxes, [(64, 64)] * 2)
    assert torch.equal(both[:3], pool({"0": first}, boxes, [(64, 64)] * 2))
    assert torch.equal(both[3:], pool({"0": second}, boxes, [(64, 64)] * 2))


def test_pixel_shuffle_after_a_1x1_is_the_transposed_convolution():
    torch.manual_seed(0)
    up = ShuffleUp(3, 2).eval()
    assert isinstance(up.project, ConvBN)
    weight = up.project.conv.weight.view(2, 2, 2, 3).permute(3, 0, 1, 2)  # [in, out, 2, 2]
    x = torch.randn(2, 1, 3, 5, 4)
    expected = torch.nn.functional.conv_transpose2d(x.flatten(0, 1), weight, stride=2)
    scale = 1 / (1 + up.project.bn.eps) ** 0.5
    torch.testing.assert_close(up(x).flatten(0, 1), expected * scale)


def test_lattice_covers_the_image():
    boxes = lattice(5, 20, 64, 40)
    assert boxes.shape == (5, 4) and boxes.min() == 0
    assert boxes[:, 2].max() == 40 and boxes[:, 3].max() == 64
    assert ((boxes[:, 2:] - boxes[:, :2]) == 20).all()
    assert lattice(2, 500, 64, 40).tolist() == [[0, 0, 40, 64], [0, 0, 40, 64]]
