"""Whether two networks compute the same: every neuron's input, and what comes out, in float64."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from spikedriven.errors import InputError, SpikedrivenError
from spikedriven.graph.inputs import as_inputs
from spikedriven.graph.trace import as_graphed
from spikedriven.neurons.watch import neurons_of

#: Largest difference, relative to the largest value, that two float64 computations of one function
#: may show.
TOLERANCE = 1e-9
#: Height and width of the random images that networks are compared on.
CHECK_SIZE = 64


def exact_copy(model: nn.Module) -> nn.Module:
    """The model in float64 on the CPU, in evaluation mode."""
    return copy.deepcopy(model).double().cpu().eval()


def check_input(model: nn.Module, example: Any = None) -> Any:
    """The float64 input on which two forms of a model are compared: the example, or random values
    for a registered model's own shape, at most 64 pixels wide.
    """
    if example is None:
        if not hasattr(model, "example_input"):
            raise InputError("give an example input: only registered models know theirs")
        example = cast(Callable[[int], Tensor], model.example_input)(2)
        crop = [slice(None)] * (example.ndim - 2) + [slice(CHECK_SIZE), slice(CHECK_SIZE)]
        example = torch.randn(
            example[tuple(crop)].shape, generator=torch.Generator().manual_seed(0)
        )
    return tree_map(_exact, example)


def _exact(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value


def check_equal(
    model: nn.Module, other: nn.Module, x: Any, reads: Callable[[Any], Tensor] = lambda x: x
) -> None:
    """Raise SpikedrivenError unless two float64 models agree on x, naming the first neuron whose
    input differs.

    reads: what a neuron of the other model reads, as the values that a neuron of the first one
    reads.
    """
    expected, output = _run(model, x)
    found, other_output = _run(other, x)
    for name, value in expected.items():
        _expect(name, [reads(x) for x in found.get(name, [])], value)
    _expect("output", other_output, output)


def _run(model: nn.Module, x: Any) -> tuple[dict[str, list[Any]], list[Tensor]]:
    """What each neuron read at each of its calls, in the order of first calls, and what came
    out.
    """
    inputs: dict[str, list[Any]] = {}
    hooks = [
        neuron.register_forward_pre_hook(
            lambda _m, args, name=name: inputs.setdefault(name, []).append(args[0])
        )
        for name, neuron in neurons_of(model).items()
    ]
    try:
        with torch.no_grad(), as_graphed(model):
            output = model(*as_inputs(x))
    finally:
        for hook in hooks:
            hook.remove()
    return inputs, [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _expect(name: str, found: list[Tensor], expected: list[Tensor]) -> None:
    """Neurons up to a constant factor: a folded scale reaches one as a larger input and a
    larger threshold.
    """
    shapes, wanted = [list(x.shape) for x in found], [list(x.shape) for x in expected]
    if shapes != wanted:
        raise SpikedrivenError(f"the two networks differ at {name}: shapes {shapes} and {wanted}")
    for value, reference in zip(found, expected, strict=True):
        _compare(name, value.double(), reference.double())


def _compare(name: str, found: Tensor, expected: Tensor) -> None:
    if not expected.numel():
        return
    size = expected.abs().max().item()
    if name != "output" and size and found.abs().max() > 0:
        found = found * (expected.norm() / found.norm())
    difference = (found - expected).abs().max().item()
    if not difference <= TOLERANCE * max(size, 1.0):
        raise SpikedrivenError(
            f"the two networks differ at {name}: by {difference:.3g}, where values reach "
            f"{size:.3g}. The folding "
            f"rules misread a module of this network; check=False returns the copy regardless"
        )
