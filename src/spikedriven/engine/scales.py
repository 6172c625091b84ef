"""Integer weights: 16 or 23 bits per weight, one scale per output channel, and sums that provably fit 32 bits."""

import numpy as np
from numpy.typing import NDArray

from spikedriven.engine.program import Float32, Int16, Int32

LIMIT16, LIMIT32 = 2**15 - 1, 2**31 - 1
#: Of wide weights: what two halves of 16 bits hold, of which the high one counts 128 times (kernels.h).
LIMIT_WIDE = 128 * LIMIT16 + 63

Array = NDArray[np.float64]


#: Bits of the weights that are multiplied by counts.
WEIGHT_BITS = (16, 23)


def quantized(weight: Array, levels: int, bits: int = 23) -> tuple[Int16 | Int32, Array]:
    """Weights [out, ...] as integer multiples of a step per output channel, and these steps, [out].

    levels: the largest count that a weight is multiplied by. Even if every input counts that far, sums fit 32 bits.
    Weights of binary inputs have 16 bits, and the sum of any two fits these, so that the engine may add them before it
    widens. Weights of counts have up to 23, or 16 on request (``bits``): a count is rounded, so that any error moves
    some over the edge, and 16 bits changed the class of one image in a hundred (docs/engine.md).
    """
    sizes = -np.sort(-np.abs(weight.reshape(len(weight), -1)), axis=1)
    # rounding adds at most one half per weight
    largest_sum = sizes.sum(axis=1) * levels / (LIMIT32 - levels * sizes.shape[1])
    wide = levels > 1 and bits == 23
    largest = sizes[:, : 2 if levels == 1 else 1].sum(axis=1) / (
        LIMIT_WIDE if wide else LIMIT16 - 1
    )
    step = np.maximum(largest, largest_sum)
    step = np.where(step > 0, step, 1.0)
    rounded = np.rint(weight / step.reshape(-1, *[1] * (weight.ndim - 1)))
    integers: Int16 | Int32 = rounded.astype(np.int32) if wide else rounded.astype(np.int16)
    return integers, step


def as_scale(step: Array, unit: float) -> Float32:
    """What one integer of the sum is worth, in float32. unit: worth of one count of the input."""
    return (step * unit).astype(np.float32)
