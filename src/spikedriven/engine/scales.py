"""Integer weights: per output channel the largest scale for which no sum can leave its integer type."""

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import CHUNK, Float32, Int16

LIMIT16, LIMIT32 = 2**15 - 1, 2**31 - 1
#: The image is at most this large in 16-bit numbers.
IMAGE_LIMIT = 2**14

Array = NDArray[np.float64]


def quantized(weight: Array, step: Array) -> tuple[Int16, Array]:
    """Weights [out, ...] as multiples of ``step`` [out], and the step; a channel of zeros has step 1."""
    step = np.where(step > 0, step, 1.0)
    integers = np.rint(weight / step.reshape(-1, *[1] * (weight.ndim - 1)))
    return integers.astype(np.int16), step


def row_step(weight: Array, levels: int) -> Array:
    """For rows that are added one by one, counts as repetitions: any CHUNK of them fit 16 bits, all of them 32.

    The worst chunk takes each of the largest weights ``levels`` times.
    """
    sizes = -np.sort(-np.abs(weight.reshape(len(weight), -1)), axis=1)
    worst = np.repeat(sizes, levels, axis=1)[:, :CHUNK].sum(axis=1)
    everything = sizes.sum(axis=1) * levels
    # rounding adds at most one half per row
    return np.maximum(worst / (LIMIT16 - CHUNK), everything / (LIMIT32 - levels * sizes.shape[1]))


def bounded_step(weight: Array, bounds: Array) -> Array:
    """For products with integers of at most ``bounds`` [in]: weights fit 16 bits, sums 32."""
    flat = np.abs(weight).reshape(len(weight), len(bounds), -1)
    total = (flat * bounds.reshape(1, -1, 1)).sum(axis=(1, 2))
    slack = bounds.sum() * flat.shape[2]
    return np.maximum(np.abs(weight).reshape(len(weight), -1).max(axis=1) / LIMIT16, total / (LIMIT32 - slack))


def depthwise_step(weight: Array, levels: int) -> Array:
    """For filters [channels, 1, kh, kw] on counts: one row of taps fits 16 bits."""
    row = np.abs(weight[:, 0]).sum(axis=2).max(axis=1) * levels
    return row / (LIMIT16 - levels * weight.shape[3])


def as_scale(step: Array, unit: float) -> Float32:
    """What one integer is worth, in float32."""
    return (step * unit).astype(np.float32)
