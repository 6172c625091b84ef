"""Integer weights: 16 bits per weight, one scale per output channel, and sums that provably fit 32 bits."""

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import Float32, Int16

LIMIT16, LIMIT32 = 2**15 - 1, 2**31 - 1

Array = NDArray[np.float64]


def quantized(weight: Array, levels: int) -> tuple[Int16, Array]:
    """Weights [out, ...] as 16-bit multiples of a step per output channel, and these steps, [out].

    levels: the largest count that a weight is multiplied by. Even if every input counts that far, sums fit 32 bits.
    On binary inputs the sum of any two weights fits 16 bits, so that the engine may add them before it widens; counts
    keep the last bit, which they need more than the speed (docs/engine.md).
    """
    sizes = -np.sort(-np.abs(weight.reshape(len(weight), -1)), axis=1)
    # rounding adds at most one half per weight
    largest_sum = sizes.sum(axis=1) * levels / (LIMIT32 - levels * sizes.shape[1])
    together = sizes[:, : 2 if levels == 1 else 1]
    step = np.maximum(together.sum(axis=1) / (LIMIT16 - 1), largest_sum)
    step = np.where(step > 0, step, 1.0)
    return np.rint(weight / step.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int16), step


def as_scale(step: Array, unit: float) -> Float32:
    """What one integer of the sum is worth, in float32. unit: worth of one count of the input."""
    return (step * unit).astype(np.float32)
