"""From an image and its label map to network input; both are moved together, by torchvision's
transforms v2.

The order of MMSegmentation's pipelines: resize, crop, flip, photometric distortion; then
normalisation and padding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as moves

from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.data.segmentation.sets import IGNORE

CROP_TRIALS = 10
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32, (0.5, 1.5), (0.5, 1.5), 18 / 180

Pair = tuple[tv_tensors.Image, tv_tensors.Mask]


class TrainTransform:
    """(uint8 [3, H, W], uint8 [H, W]) -> (float32 [3, S, S], int64 [S, S]); draws from torch's
    CPU generator.
    """

    def __init__(self, cfg: SegmentationDataConfig) -> None:
        self.cfg, self.flip = cfg, v2.RandomHorizontalFlip(cfg.hflip)

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        cfg = self.cfg
        pair = tv_tensors.Image(image), tv_tensors.Mask(labels)
        if cfg.resize is not None:
            pair = fit(pair, cfg.resize, float(torch.empty(()).uniform_(*cfg.resize_range)))
        pair = self.flip(*self._crop(pair))
        picture = distort(pair[0]) if cfg.photometric else pair[0]
        return self._pad(normalize(picture, cfg), pair[1])

    def _crop(self, pair: Pair) -> Pair:
        """Of up to ten random places the first without a dominating class, else the last."""
        side = self.cfg.img_size
        height, width = pair[1].shape[-2:]
        if height <= side and width <= side:
            return pair
        for _ in range(CROP_TRIALS):
            top, left = (
                int(torch.randint(max(size - side, 0) + 1, ())) for size in (height, width)
            )
            box = (top, left, min(side, height), min(side, width))
            labels = moves.crop(pair[1], *box)
            if not dominated(labels, self.cfg.max_class_share):
                break
        return moves.crop(pair[0], *box), labels

    def _pad(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        right, below = (self.cfg.img_size - size for size in (labels.shape[-1], labels.shape[-2]))
        labels = labels.as_subclass(Tensor).long()
        return F.pad(image, (0, right, 0, below)), F.pad(labels, (0, right, 0, below), value=IGNORE)


class EvalTransform:
    """(uint8 [3, H, W], uint8 [H, W]) -> (float32 [3, h, w] in the size for evaluation, int64
    [H, W] as it was).
    """

    def __init__(self, cfg: SegmentationDataConfig) -> None:
        self.cfg = cfg

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.image(image), labels.long()

    def image(self, image: Tensor) -> Tensor:
        """uint8 [3, H, W] -> float32 [3, h, w]."""
        return self._resized(image, 1.0)

    def views(self, image: Tensor) -> list[Tensor]:
        """uint8 [3, H, W] -> float32 [3, h, w] in each of the sizes `test_scales`."""
        return [self._resized(image, scale) for scale in self.cfg.test_scales]

    def _resized(self, image: Tensor, scale: float) -> Tensor:
        picture, limits = tv_tensors.Image(image), self.cfg.resize
        if limits is None and scale != 1.0:
            limits = (max(picture.shape[-2:]), min(picture.shape[-2:]))
        if limits is not None:
            picture = moves.resize(
                picture, fitted_size(picture.shape[-2:], limits, scale), antialias=False
            )
        return normalize(picture, self.cfg)


def fit(pair: Pair, limits: tuple[int, int], factor: float) -> Pair:
    """Both resized, their ratio kept, to fit into (long side, short side) times factor."""
    size = fitted_size(pair[1].shape[-2:], limits, factor)
    return moves.resize(pair[0], size, antialias=False), moves.resize(pair[1], size)


def fitted_size(size: torch.Size, limits: tuple[int, int], factor: float) -> list[int]:
    """[height, width] after resizing: the largest with long and short side within the limits,
    ratio kept.
    """
    scale = min(limits[0] * factor / max(size), limits[1] * factor / min(size))
    return [max(1, int(length * scale + 0.5)) for length in size]


def dominated(labels: Tensor, share: float) -> bool:
    """Whether one class has this share or more of the pixels that count, or none does."""
    if share >= 1.0:
        return False
    counts = torch.bincount(labels.flatten().long(), minlength=IGNORE + 1)[:IGNORE]
    return not bool(counts.max() < share * counts.sum())


def distort(image: tv_tensors.Image) -> tv_tensors.Image:
    """Brightness, contrast, saturation and hue, each with probability 1/2; contrast before or
    after the two others.
    """
    draws = torch.rand(5) < 0.5
    brightness, contrast, saturation, hue = (
        float(torch.empty(()).uniform_(*bounds)) for bounds in _BOUNDS
    )
    if draws[0]:
        shifted = image.as_subclass(Tensor).float() + brightness
        image = tv_tensors.Image(shifted.clamp_(0, 255).to(torch.uint8))
    contrast_first = bool(draws[4])
    if draws[1] and contrast_first:
        image = _contrast(image, contrast)
    if draws[2]:
        image = moves.adjust_saturation(image, saturation)
    if draws[3]:
        image = moves.adjust_hue(image, hue)
    return _contrast(image, contrast) if draws[1] and not contrast_first else image


_BOUNDS = ((-BRIGHTNESS, BRIGHTNESS), CONTRAST, SATURATION, (-HUE, HUE))


def _contrast(image: tv_tensors.Image, factor: float) -> tv_tensors.Image:
    """Values times a factor, as MMSegmentation has it (torchvision's contrast keeps the mean
    grey).
    """
    return tv_tensors.Image(
        (image.as_subclass(Tensor).float() * factor).clamp_(0, 255).to(torch.uint8)
    )


def normalize(image: Tensor, cfg: SegmentationDataConfig) -> Tensor:
    """uint8 [3, H, W] -> float32 (x - 255 mean) / (255 std)."""
    mean, std = (torch.tensor(values).mul_(255).view(-1, 1, 1) for values in cfg.normalization())
    return image.as_subclass(Tensor).float().sub_(mean).div_(std)
