"""What the tensors of a file tell about the network they are of: helpers for the families'
`told_by`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from spikedriven.neurons import NeuronChoice

Tensors = Mapping[str, Tensor]


def width(tensors: Tensors, key: str, axis: int = 0) -> int | None:
    """Size of an axis of a tensor; None where the file has no such tensor."""
    return int(tensors[key].shape[axis]) if key in tensors and tensors[key].ndim > axis else None


def known(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def count(tensors: Tensors, head: str) -> int:
    """How many numbered parts there are whose keys begin with the pattern ``head`` and a number."""
    pattern = re.compile(rf"{head}(\d+)\.")
    numbers = {int(found[1]) for found in map(pattern.match, tensors) if found}
    return max(numbers, default=-1) + 1


def mlp_ratio(hidden: int | None, dim: int | None, own: float) -> float | None:
    """The ratio with ``int(dim * ratio) == hidden``; ``own``, where it is one."""
    if not hidden or not dim or int(dim * own) == hidden:
        return own if hidden and dim else None
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def lif_kind(tensors: Tensors, own: NeuronChoice) -> NeuronChoice:
    """ "plif" where neurons have a time constant of their own (``w``); else ``own``, or "lif" in
    its place.

    A neuron that no release has (its ``w`` would mean something else) stays as it is.
    """
    if own not in ("lif", "plif", "integer"):
        return own
    if any(key.endswith(".w") for key in tensors):
        return "plif"
    return "lif" if own == "plif" else own


def has(tensors: Tensors, pattern: str) -> bool:
    return any(re.search(pattern, key) for key in tensors)


def classifier(tensors: Tensors) -> dict[str, Any]:
    """num_classes, where there is a head."""
    return known(num_classes=width(tensors, "head.weight"))


def of_one_width(
    tensors: Tensors,
    own: Mapping[str, Any],
    first: str,
    hidden: str,
) -> dict[str, Any]:
    """Of the families with one width and one row of blocks: num_classes, in_chans, embed_dim,
    depth, mlp_ratio, neuron.

    own: keywords of the registered name; values that fit the file are kept. first: key of the first
    convolution, an eighth as wide as the blocks. hidden: key of the first weights of an MLP.
    """
    dim = 8 * tensors[first].shape[0]
    return classifier(tensors) | known(
        in_chans=width(tensors, first, 1),
        embed_dim=dim,
        depth=count(tensors, r"block\."),
        mlp_ratio=mlp_ratio(width(tensors, hidden), dim, own["mlp_ratio"]),
        neuron=lif_kind(tensors, own["neuron"]),
    )


def stages(tensors: Tensors, own: Mapping[str, Any]) -> dict[str, Any]:
    """Of the staged families: in_chans, embed_dims, depths, mlp_ratio, neuron.

    own: keywords of the registered name; values that fit the file are kept.
    """
    first = "downsample1_1.encode_conv.weight"
    if first not in tensors:
        return {}
    downs = [
        key for key in ("1_2", "2", "3", "4") if f"downsample{key}.encode_conv.weight" in tensors
    ]
    dims = tuple(width(tensors, f"downsample{key}.encode_conv.weight") for key in downs)
    conv = [
        count(tensors, r"ConvBlock1_1\."),
        count(tensors, r"ConvBlock1_2\."),
        _third_stage(tensors),
    ]
    depths = (*conv, *(count(tensors, rf"block{key}\.") for key in downs[2:]))
    return known(
        in_chans=width(tensors, first, 1),
        embed_dims=dims,
        depths=depths,
        mlp_ratio=_staged_ratio(tensors, dims, own["mlp_ratio"]),
        neuron=lif_kind(tensors, own["neuron"]),
    )


def _third_stage(tensors: Tensors) -> int:
    """Its conv blocks: the release has two, each under a name of its own, and no names for more."""
    named = [i for i in (1, 2) if has(tensors, rf"^ConvBlock2_{i}\.0\.")]
    return max([*named, count(tensors, r"stages\.2\.blocks\.")])


def _staged_ratio(tensors: Tensors, dims: Sequence[int | None], own: float) -> float | None:
    """From an attention block, else from a conv block."""
    for key in (
        "block3.0.mlp.fc1_conv.weight",
        "block4.0.mlp.fc1_conv.weight",
        "ConvBlock1_2.0.conv1.weight",
        "ConvBlock1_2.0.conv1.0.0.weight",
    ):
        hidden, dim = width(tensors, key), width(tensors, key, 1)
        if hidden:
            return mlp_ratio(hidden, dim, own)
    return None


def layer_scale(tensors: Tensors, own: float) -> float:
    """0 where the blocks have no factors per channel; else ``own``, or the release's initial
    value in place of 0.
    """
    return (own or 1e-6) if has(tensors, r"\.layer_scale\d$") else 0.0


def runs(tensors: Tensors, branch: str) -> bool:
    """Whether a branch with the keys ``branch`` can run, and did while the rest of the network was
    trained.

    A norm whose width is not that of the convolution in front of it cannot run; one that counted no
    batch while others did was never called.
    """
    if not has(tensors, branch):
        return False
    for key, value in tensors.items():
        if re.search(branch, key) and key.endswith(".1.weight"):
            conv = tensors.get(key.removesuffix("1.weight") + "0.weight")
            if conv is not None and conv.shape[0] != value.shape[0]:
                return False
    counts = {
        key: int(value) for key, value in tensors.items() if key.endswith("num_batches_tracked")
    }
    inside = [number for key, number in counts.items() if re.search(branch, key)]
    return any(inside) or not any(counts.values())
