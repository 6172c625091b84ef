"""How far integers reach: the step of weights per output channel, and the unit of real values
that a layer reads.
"""

import torch
from torch import Tensor

from spikedriven.errors import InputError
from spikedriven.graph.seen import Seen
from spikedriven.layers.quantized import Reading, largest_integer

#: Ways to choose a range: by the largest value, or by the mean squared error on calibration images.
RANGES = ("mse", "max")
#: Steps of real values that a layer reads: a map of counts holds so many.
LEVELS = 255
#: Sums of integers have 32 bits; two rows of 16-bit weights on spikes are added in 16.
LIMIT16, LIMIT32 = 2**15 - 1, 2**31 - 1
#: Shares of the largest value that are tried as the end of a range.
SHARES = [1.0 - i / 40 for i in range(33)]


def rounded(rows: Tensor, step: Tensor, bits: int) -> Tensor:
    """Weights [out, n] as whole multiples of the step of each row, float64."""
    most = largest_integer(bits)
    return (rows / step[:, None]).round().clamp(-most, most)


def weight_steps(
    rows: Tensor, bits: int, levels: int, square: Tensor, ranges: str, power_of_two: bool
) -> Tensor:
    """The step of each output channel, [out]. rows: weights [out, n], float64; square: what each of
    them is multiplied by, squared, in the mean, [out, n] or [1, n]; levels: the largest count that
    they are multiplied by.
    """
    most = largest_integer(bits)
    largest = rows.abs().amax(1)
    step = torch.where(largest > 0, largest / most, 1.0)
    if ranges == "mse" and bits <= 8:
        step = _least_error(rows, step, bits, square, power_of_two)
    elif power_of_two:
        step = torch.exp2(step.log2().ceil())
    least = _least_step(rows, bits, levels)
    return (
        torch.exp2(torch.maximum(step, least).log2().ceil())
        if power_of_two
        else torch.maximum(step, least)
    )


def _least_error(
    rows: Tensor, step: Tensor, bits: int, square: Tensor, power_of_two: bool
) -> Tensor:
    """Of several shares of each step, the one with the least squared error of the sums."""
    square = square if square.any() else torch.ones_like(square)
    best, chosen = torch.full_like(step, torch.inf), step
    for share in (1.0, 0.5, 0.25) if power_of_two else SHARES:
        tried = step * share
        if power_of_two:
            tried = torch.exp2(tried.log2().ceil())
        error = ((rounded(rows, tried, bits) * tried[:, None] - rows).square() * square).sum(1)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, tried, chosen)
    return chosen


def _least_step(rows: Tensor, bits: int, levels: int) -> Tensor:
    """Below it sums could leave 32 bits, or two rows of wide weights 16."""
    sizes = rows.abs()
    least = sizes.sum(1) * levels / (LIMIT32 - levels * rows.shape[1])
    if bits > 8 and levels == 1:
        pair = sizes.topk(min(2, rows.shape[1]), dim=1).values.sum(1)
        least = torch.maximum(least, pair / (LIMIT16 - 1))
    return least


def reading_of(name: str, seen: Seen, ranges: str) -> Reading:
    """How a layer reads real values: 256 steps over what was seen, zero among them; steps of a
    power of two that all values are multiples of, where 256 of them reach.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    if not low < high:
        raise InputError(f"{name} read nothing but zeros on the calibration images: give real ones")
    if seen.grid and high - low <= LEVELS * seen.grid:  # event counts, say: nothing is lost
        return Reading(seen.grid, LEVELS, low, low)
    shares = SHARES if ranges == "mse" else [1.0]
    tried = [_between(low * share, high * share) for share in shares]
    return min(tried, key=lambda reading: _error(seen.sample, reading))


def _between(low: float, high: float) -> Reading:
    """Zero is one of the steps, so that a border of zeros is exact."""
    unit = (high - low) / LEVELS
    below = round(-low / unit)
    unit = max(-low / below if below else 0.0, high / (LEVELS - below) if below < LEVELS else 0.0)
    low = _float32(-below * _float32(unit))
    return Reading(_float32(unit), LEVELS, low, low)


def _float32(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float32))


def _error(sample: Tensor, reading: Reading) -> float:
    counts = ((sample - reading.low) / reading.unit).clamp(0, reading.levels).round()
    return (counts * reading.unit + reading.low - sample).square().mean().item()
