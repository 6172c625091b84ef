"""Integer weights: 2 to 8 or 16 bits per weight, one scale per output channel, and sums that
provably fit 32 bits.
"""

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import Float32, Int8, Int16

LIMIT16, LIMIT32 = 2**15 - 1, 2**31 - 1

Array = NDArray[np.float64]

#: Bits of a weight behind spikes and counts.
WEIGHT_BITS = (2, 3, 4, 5, 6, 7, 8, 16)
DEFAULT_BITS = 8


def quantized(weight: Array, levels: int, bits: int = DEFAULT_BITS) -> tuple[Int8 | Int16, Array]:
    """Weights [out, ...] as integer multiples of a step per output channel, and these steps, [out].

    levels: the largest count that a weight is multiplied by. Even if every input counts that far,
    sums fit 32 bits. Integers of b bits lie in -(2**(b - 1) - 1) .. 2**(b - 1) - 1. The sum of any
    two 16-bit weights of binary inputs fits 16 bits, so that the engine may add them before it
    widens.
    """
    sizes = -np.sort(-np.abs(weight.reshape(len(weight), -1)), axis=1)
    # rounding adds at most one half per weight
    largest_sum = sizes.sum(axis=1) * levels / (LIMIT32 - levels * sizes.shape[1])
    in_pairs = bits == 16 and levels == 1
    limit = LIMIT16 - 1 if bits == 16 else largest_integer(bits)
    step = np.maximum(sizes[:, : 2 if in_pairs else 1].sum(axis=1) / limit, largest_sum)
    step = np.where(step > 0, step, 1.0)
    rounded = np.rint(weight / step.reshape(-1, *[1] * (weight.ndim - 1)))
    integers: Int8 | Int16 = rounded.astype(np.int16) if bits == 16 else rounded.astype(np.int8)
    return integers, step


def largest_integer(bits: int) -> int:
    """Of weights of so many bits; the smallest is its negative."""
    return 2 ** (bits - 1) - 1


def as_scale(step: Array, unit: float) -> Float32:
    """What one integer of the sum is worth, in float32. unit: worth of one count of the input."""
    return (step * unit).astype(np.float32)
