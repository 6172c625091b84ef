"""The arrays that pools and resizing read: which places of an axis each place of the result
looks at.
"""

from collections.abc import Iterable

import numpy as np

from spikedriven.engine.program import Float32, Int32
from spikedriven.errors import InputError


def sliding(
    size: int,
    kernel: int,
    stride: int,
    padding: int = 0,
    ceil_mode: bool = False,
    count_padding: bool = True,
) -> Int32:
    """Windows of `Pool` along one axis as ``torch.nn.MaxPool2d`` and ``AvgPool2d`` have them, [out,
    3].

    count_padding: the divisor counts places of the padding. With ceil_mode the last window may
    reach beyond the padding; it begins inside the map or the left padding, and what lies beyond is
    never counted.
    """
    reach = size + 2 * padding - kernel
    if size < 1 or kernel < 1 or stride < 1 or not 0 <= 2 * padding <= kernel or reach < 0:
        raise InputError(
            f"a window of {kernel}, stride {stride}, padding {padding} does not fit {size} places"
        )
    count = -(-reach // stride) + 1 if ceil_mode else reach // stride + 1
    if (count - 1) * stride >= size + padding:
        count -= 1
    windows = []
    for start in (i * stride - padding for i in range(count)):
        end = min(start + kernel, size + padding)
        first, last = max(start, 0), min(end, size)
        windows.append((first, last, end - start if count_padding else last - first))
    return _bounds(windows)


def reached(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    spread: int = 1,
) -> int:
    """Windows of a `WeightLayer` along one axis. padding: before and behind."""
    return ((size - 1) * spread + 1 + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def adaptive(size: int, out: int) -> Int32:
    """Windows of ``AdaptiveMaxPool2d`` and ``AdaptiveAvgPool2d`` along one axis, [out, 3]; out
    1: the whole axis.
    """
    if size < 1 or out < 1:
        raise InputError(f"cannot pool {size} places to {out}")
    bounds = [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
    return _bounds((first, last, last - first) for first, last in bounds)


def summed(size: int) -> Int32:
    """One window over the whole axis that is added up, not averaged."""
    return _bounds([(0, size, 1)])


def nearest(size: int, out: int, scale: float | None = None) -> Int32:
    """Places that resizing to the nearest (``mode="nearest"``) reads along one axis. scale: the
    factor that was asked for, where the sizes do not say it (``recompute_scale_factor`` left out).
    """
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(out)
    places = np.floor(np.arange(out, dtype=np.float32) * step).astype(np.int32)
    return np.minimum(places, size - 1)


def linear(
    size: int, out: int, align_corners: bool, scale: float | None = None
) -> tuple[Int32, Float32]:
    """Places [out, 2] and their weights [out, 2] of linear resizing along one axis, as PyTorch
    computes them.
    """
    i = np.arange(out, dtype=np.float32)
    if align_corners:
        step = np.float32((size - 1) / (out - 1)) if out > 1 else np.float32(0)
        middle = i * step
    else:
        step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(out)
        middle = np.maximum((i + np.float32(0.5)) * step - np.float32(0.5), np.float32(0))
    first = np.minimum(middle.astype(np.int32), size - 1)
    second = np.minimum(first + 1, size - 1)
    weight = np.clip(middle - first.astype(np.float32), np.float32(0), np.float32(1))
    return np.stack([first, second], axis=1), np.stack([np.float32(1) - weight, weight], axis=1)


def _bounds(windows: Iterable[tuple[int, int, int]]) -> Int32:
    return np.array(list(windows), dtype=np.int32).reshape(-1, 3)
