"""A segmenter on whole images at test time: at once or in windows, in several sizes, mirrored;
averaged as in MMSegmentation 1 (`slide_inference`, `SegTTAModel`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.models.segmentation.semantic_fpn import resize

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Inference:
    """slide: (side, stride) of square windows, whose logits are averaged where they overlap; None:
    the image at once.

    flip: each view is seen mirrored too.
    """

    slide: tuple[int, int] | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        check_slide(self.slide)

    def scores(self, model: Network, views: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """[B, K, *size] of images that come in one or several sizes, each [B, C, h, w] and prepared
        as input.

        One view gives its logits. Several give the logarithm of the mean of their probabilities, so
        that softmax and cross entropy read both alike.
        """
        if len(views) == 1 and not self.flip:
            return self.logits(model, views[0], size)
        total, count = torch.zeros(()), 0
        for logits in self._all(model, views, size):
            total, count = total.to(logits) + logits.softmax(dim=1), count + 1
        return (total / count).log()

    def _all(
        self, model: Network, views: Sequence[Tensor], size: tuple[int, int]
    ) -> Iterator[Tensor]:
        for view in views:
            yield self.logits(model, view, size)
            if self.flip:
                yield self.logits(model, view.flip(-1), size).flip(-1)

    def logits(self, model: Network, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits [B, K, *size], float32 at least."""
        output = model(image) if self.slide is None else slid(model, image, *self.slide)
        output = output if output.dtype == torch.float64 else output.float()
        return resize(output, size)


def slid(model: Network, image: Tensor, side: int, stride: int) -> Tensor:
    """Logits of an image [B, C, H, W], each pixel the mean over the windows that see it."""
    height, width = image.shape[-2:]
    total, seen = torch.zeros(()), image.new_zeros(1, 1, height, width)
    for top, left in windows((height, width), side, stride):
        rows, columns = slice(top, top + side), slice(left, left + side)
        part = image[..., rows, columns]
        logits = resize(model(part), (part.shape[-2], part.shape[-1]))
        if total.ndim == 0:
            total = logits.new_zeros(*logits.shape[:2], height, width)
        total[..., rows, columns] += logits
        seen[..., rows, columns] += 1
    return total / seen.to(total)


def windows(size: tuple[int, int], side: int, stride: int) -> list[tuple[int, int]]:
    """(top, left) of each window; the last of a row or column ends at the image's edge."""
    tops, lefts = (_starts(length, side, stride) for length in size)
    return [(top, left) for top in tops for left in lefts]


def _starts(length: int, side: int, stride: int) -> list[int]:
    count = max(length - side + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - side), 0) for i in range(count)]


def check_slide(slide: tuple[int, int] | None) -> None:
    """InputError for windows that leave pixels out."""
    if slide is not None and not 1 <= slide[1] <= slide[0]:
        raise InputError(
            f"slide: expected (side, stride) with 1 <= stride <= side, found {tuple(slide)}"
        )
