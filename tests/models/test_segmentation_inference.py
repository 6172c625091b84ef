"""Windows, sizes and mirror images at test time: counts by hand, and networks whose answer is
known.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.models.segmentation.inference import Inference, slid, windows
from spikedriven.models.segmentation.semantic_fpn import resize

IMAGE = torch.randn(2, 3, 20, 31, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIZE = (20, 31)


def linear(image: Tensor) -> Tensor:
    """Each pixel's classes from that pixel alone, so that no window's edge matters."""
    weight = torch.linspace(-2, 3, 12, dtype=image.dtype).view(4, 3, 1, 1)
    return F.conv2d(image, weight)


def local(image: Tensor) -> Tensor:
    """Each pixel's classes from its neighbours, padded with zeros at the window's edge."""
    weight = torch.linspace(-1, 1, 4 * 3 * 9, dtype=image.dtype).view(4, 3, 3, 3)
    return F.conv2d(image, weight, padding=1)


@pytest.mark.parametrize(
    ("size", "side", "stride", "tops", "lefts"),
    [
        ((512, 683), 512, 341, [0], [0, 171]),
        ((512, 2048), 512, 341, [0], [0, 341, 682, 1023, 1364, 1536]),
        ((10, 10), 4, 3, [0, 3, 6], [0, 3, 6]),
        ((11, 4), 4, 4, [0, 4, 7], [0]),
        ((3, 9), 4, 2, [0], [0, 2, 4, 5]),
    ],
)
def test_windows(size, side, stride, tops, lefts):
    assert windows(size, side, stride) == [(top, left) for top in tops for left in lefts]


def test_windows_of_a_network_without_neighbours_change_nothing():
    calls = []

    def watched(image):
        calls.append(tuple(image.shape))
        return linear(image)

    assert torch.allclose(slid(watched, IMAGE, 8, 6), linear(IMAGE), rtol=0, atol=1e-12)
    assert calls == [(2, 3, 8, 8)] * (3 * 5)
    assert torch.allclose(slid(linear, IMAGE, 64, 32), linear(IMAGE)), (
        "a window larger than the image is the image"
    )


def test_overlapping_windows_are_averaged_over_those_that_see_a_pixel():
    """A network that answers with its window's first pixel: 6 columns in windows of 4 with
    stride 2.
    """
    image = torch.arange(6.0).view(1, 1, 1, 6).repeat(1, 1, 4, 1)
    answer = slid(
        lambda part: part[..., :1, :1].expand(-1, 1, part.shape[-2], part.shape[-1]), image, 4, 2
    )
    assert answer[0, 0, 0].tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_small_outputs_are_enlarged_to_their_window():
    def coarse(part):
        return F.avg_pool2d(linear(part), 4)

    expected = resize(coarse(IMAGE[..., :8, :8]), (8, 8))
    assert torch.allclose(slid(coarse, IMAGE[..., :8, :8], 8, 8), expected)


def test_one_view_gives_its_logits():
    assert torch.equal(Inference().scores(local, [IMAGE], SIZE), local(IMAGE))
    halves = Inference().scores(local, [IMAGE], (40, 62))
    assert torch.equal(halves, resize(local(IMAGE), (40, 62)))


def test_several_views_give_the_mean_of_their_probabilities():
    small, large = IMAGE[..., ::2, ::2], F.interpolate(IMAGE, scale_factor=2, mode="bilinear")
    found = Inference().scores(local, [small, IMAGE, large], SIZE)
    each = [resize(local(view), SIZE).softmax(1) for view in (small, IMAGE, large)]
    assert torch.allclose(found.softmax(1), sum(each) / 3) and torch.allclose(
        found.exp().sum(1), torch.ones(2, *SIZE).double()
    )


def test_a_mirrored_view_is_mirrored_back():
    found = Inference(flip=True).scores(local, [IMAGE], SIZE)
    mirrored = local(IMAGE.flip(-1)).flip(-1)
    assert torch.allclose(found.exp(), (local(IMAGE).softmax(1) + mirrored.softmax(1)) / 2)
    assert not torch.allclose(mirrored, local(IMAGE))
    same = Inference(flip=True).scores(linear, [IMAGE], SIZE)
    assert torch.allclose(same.exp(), linear(IMAGE).softmax(1)), (
        "a network without neighbours sees no difference"
    )


def test_windows_and_mirror_together():
    found = Inference((8, 6), flip=True).scores(linear, [IMAGE, IMAGE], SIZE)
    assert torch.allclose(found.exp(), linear(IMAGE).softmax(1))


def test_half_precision_is_averaged_in_float32():
    found = Inference(flip=True).scores(lambda image: local(image).half(), [IMAGE.float()], SIZE)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("slide", [(8, 9), (8, 0), (0, 0)])
def test_windows_that_leave_pixels_out_are_refused(slide):
    with pytest.raises(InputError, match="1 <= stride <= side"):
        Inference(slide)
