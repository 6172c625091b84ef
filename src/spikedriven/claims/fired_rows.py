"""Claims of the two families whose residuals add spikes, beside their published files."""

from functools import partial

from spikedriven.claims import counted
from spikedriven.claims.claim import FAILS, QKFORMER, REPRODUCED, SPIKFORMER, Claim


def _held(name: str, published: str, why: str) -> Claim:
    ours = partial(counted.parameters_used_and_held, name)
    command = f"spikedriven models {name}"
    return Claim(
        SPIKFORMER,
        f"parameters of {name}",
        published,
        ours,
        REPRODUCED,
        command,
        why,
    )


def _energy(name: str, published: str, giga: float, status: str, why: str) -> Claim:
    return Claim(
        SPIKFORMER,
        f"energy per image of {name} at {giga} G synaptic operations (arXiv)",
        published,
        partial(counted.energy_of_operations, name, giga),
        status,
        "spikedriven claims",
        why,
    )


_CUT = "cut off, not rounded; the file also holds layer norms that are never called"
_BORROWED = (
    "the table counts the first convolution of 8-512, 0.347 G, in every row: "
    "0.9 pJ x {giga} G + 4.6 pJ x 0.347 G is the published figure; its operations need the weights"
)

SPIKFORMER_ROWS = [
    _held("spikformer_8_384", "16.81 M", _CUT),
    _held("spikformer_8_512", "29.68 M", _CUT),
    _held("spikformer_8_768", "66.34 M", _CUT),
    _held("spikformer_4_384_cifar", "9.32 M", _CUT),
    _held("spikformer_2_256_dvs", "2.59 M", "with the parameters that are never used"),
    _energy("spikformer_8_384", "7.734 mJ", 6.82, FAILS, _BORROWED.format(giga=6.82)),
    _energy("spikformer_8_512", "11.577 mJ", 11.09, REPRODUCED, "its operations need the weights"),
    _energy("spikformer_8_768", "21.477 mJ", 22.09, FAILS, _BORROWED.format(giga=22.09)),
]


def _size(name: str, published: str, num_classes: int) -> Claim:
    ours = counted.parameters(name, num_classes=num_classes)
    command = f"spikedriven models {name}"
    figure = f"parameters of {name}, {num_classes} classes"
    return Claim(QKFORMER, figure, published, ours, REPRODUCED, command)


_NEIGHBOURS = (
    "as released the last neurons of the self-attention run through the images of a batch as if "
    "they were steps, so that the answer for an image depends on its neighbours"
)


def _each_on_its_own(name: str, published: str, found: str) -> Claim:
    command = f"spikedriven eval {name}.in1k --checkpoint authors --data imagenet"
    return Claim(
        QKFORMER,
        f"top-1 accuracy of {name}.in1k, each image on its own",
        published,
        f"{found} (measured by a user: issue 14 of the release)",
        FAILS,
        f"{command} --model.args.released_time_axis False",
        _NEIGHBOURS,
    )


QKFORMER_ROWS = [
    _size("qkformer_10_384", "16.47 M", 1000),
    _size("qkformer_10_512", "29.08 M", 1000),
    _size("qkformer_10_768", "64.96 M", 1000),
    _size("qkformer_4_384_cifar", "6.74 M", 100),
    _each_on_its_own("qkformer_10_384", "78.80 %", "74.20 %"),
    _each_on_its_own("qkformer_10_768", "84.22 %", "78.70 %"),
]
