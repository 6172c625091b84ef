"""`fuse`: a network with its batch norms, chains of linear layers and constant factors folded,
checked to be the same.

The places are found in the spike graph (`folding`), whatever the classes of the modules; modules
are edited under their qualified names (`edit`). A weight layer and the norm behind it keep their
names: the norm goes into the weights and hands on its input. A chain of several layers (RepConv,
separable, 1x1 after 1x1) that fills a module becomes one convolution under that module's name.
"""

import copy
import warnings
from collections.abc import Iterable
from typing import Any

from torch import nn

from spikedriven.errors import FoldWarning, InputError
from spikedriven.graph.attributes import removable_factors
from spikedriven.graph.edit import carry_out
from spikedriven.graph.equality import check_equal, check_input, exact_copy
from spikedriven.graph.folding import Plan
from spikedriven.graph.folds import Left
from spikedriven.graph.trace import trace

DEPTHWISE = ("folded", "apart")


def fuse(model: nn.Module, example: Any = None, check: bool = True) -> nn.Module:
    """A folded copy of a model, for inference; the model itself stays as it is.

    example: an input as the model takes it; default: random values like ``model.example_input()``,
    at most 64 pixels wide. check: compare every neuron's input and the output of both networks in
    float64 (relative 1e-9); raises SpikedrivenError naming the first neuron that differs. Warns
    (`FoldWarning`, once, with every place) of norms and factors that stay, with the reason and what
    to write instead.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> fused = sd.fuse(model, images)
        >>> sum(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
        0
        >>> bool((fused(images).argmax(1) == model(images).argmax(1)).all())
        True
    """
    exact, x = exact_copy(model), check_input(model, example)
    plan = plan_of(exact, x)
    if check:
        folded = copy.deepcopy(exact)
        carry_out(plan, folded)
        check_equal(exact, folded, x)
    fused = copy.deepcopy(model).eval()
    warn_of([*carry_out(plan, fused), *plan.left()])
    return fused


def folded_copy(model: nn.Module, example: Any = None, depthwise: str = "folded") -> nn.Module:
    """The folding itself: unchecked, and silent about what stays.

    depthwise: "apart" leaves a depthwise convolution that begins a chain as it is, and folds only
    what follows it. Folding it into its 1x1 is exact too, but multiplies the additions of a spike
    by the size of its kernel.
    """
    if depthwise not in DEPTHWISE:
        raise InputError(f"depthwise must be one of {DEPTHWISE}, found {depthwise!r}")
    plan = plan_of(exact_copy(model), check_input(model, example), depthwise)
    fused = copy.deepcopy(model).eval()
    carry_out(plan, fused)
    return fused


def plan_of(model: nn.Module, x: Any, depthwise: str = "folded") -> Plan:
    """All folds of a model that its modules allow."""
    graph = trace(model, x)
    return Plan(graph, depthwise, removable_factors(model, graph, x))


def warn_of(left: Iterable[Left]) -> None:
    """One warning that lists every place, where there is one."""
    lines = [f"  {place}" for place in dict.fromkeys(map(str, left))]
    if lines:
        warnings.warn("\n".join(["not everything folds:", *lines]), FoldWarning, stacklevel=3)
