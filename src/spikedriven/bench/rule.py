"""Weights by a rule: every tensor from a generator of its own, seeded by its name in the authors'
spelling.

Two people who have never exchanged a file get the same network, whose neurons fire in every layer.
The golden figures of this project's tests were computed with these weights.
"""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikedriven.models import load_official, official_state_dict

#: Registered names, first match wins -> (gain, norm_gain) under which their neurons fire neither
#: always nor never.
GAINS: dict[str, tuple[float, float]] = {
    r"sdt_|spikingformer_": (2.0, 1.0),
    r"e_spikeformer_(83m|171m)": (1.0, 1.25),
    r"spike_mae_": (1.0, 1.0),
    r"": (1.0, 1.75),
}
#: Last part of a key -> limits of uniform values. Layer scales start near zero: as they are,
#: attention would not show.
LAYER_SCALES = {f"layer_scale{i}": (0.5, 1.5) for i in (1, 2, 3)}


def rule_tensor(
    key: str,
    shape: tuple[int, ...],
    gain: float = 1.0,
    norm_gain: float = 1.0,
    uniform: Mapping[str, Sequence[float]] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> Tensor:
    """One tensor in float64; ``num_batches_tracked`` in int64.

    key: in the authors' spelling. gain: factor of He-normal values, tensors of two or more axes.
    norm_gain: of scales of normalisations, uniform in 0.8 .. 1.6. uniform: last part of a key ->
    limits. constants: key, or its last part, -> value.
    """
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    last, uniform, constants = key.rpartition(".")[2], uniform or {}, constants or {}
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if last in uniform:
        value = rng.uniform(uniform[last][0], uniform[last][1], shape)
    elif key.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * rng.standard_normal(shape)
    elif key in constants or last in constants:
        value = np.full(shape, constants.get(key, constants.get(last)))
    elif len(shape) == 1 and last.endswith("weight"):
        value = norm_gain * rng.uniform(0.8, 1.6, shape)
    elif len(shape) == 1 and last.endswith("bias"):
        value = 0.2 * rng.standard_normal(shape)
    else:
        value = gain * rng.standard_normal(shape) * math.sqrt(2 / np.prod(shape[1:]))
    return torch.as_tensor(value, dtype=torch.float64)


def load_rule(model: nn.Module, name: str) -> None:
    """Give a registered network the rule's weights, in place. name: the registered name, which
    decides the gains.

    Scalars (time constants of parametric neurons) keep their initial values.
    """
    gain, norm_gain = next(values for pattern, values in GAINS.items() if re.match(pattern, name))
    initial = official_state_dict(model)
    load_official(
        model,
        {
            key: rule_tensor(key, tuple(value.shape), gain, norm_gain, LAYER_SCALES)
            if value.ndim
            else value
            for key, value in initial.items()
        },
    )
