"""`fuse`: a network with every chain of linear layers folded into one, checked to compute the same.

What is folded: batch norm into the convolution before it; RepConv, separable and double 1x1 chains into single
convolutions; per-channel layer scales into the convolution before them; attention scales into the threshold of the LIF
neuron behind them (an integer neuron has no threshold to move: `expand` gives it one).
"""

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError, SpikedrivenError
from spikedriven.graph.trace import as_graphed
from spikedriven.layers import SpikingSelfAttention, UnusedParameters
from spikedriven.layers.fold import FoldedConv, fold
from spikedriven.layers.residual import Residual
from spikedriven.neurons import LIF, Neuron

#: Largest difference, relative to the largest value, that two float64 computations of one function may show.
TOLERANCE = 1e-9
#: Height and width of the random images that networks are compared on.
CHECK_SIZE = 64


def fuse(model: nn.Module, example: Tensor | None = None, check: bool = True) -> nn.Module:
    """A folded copy of a model, for inference; the model itself stays as it is.

    example: an input for the equality check; default: random values like ``model.example_input()``, at most 64 pixels
    wide. check: compare every neuron's input and the output of both networks in float64 (relative 1e-9); raises
    SpikedrivenError naming the first neuron that differs.
    """
    if check:
        exact = copy.deepcopy(model).double().cpu()
        check_equal(exact, folded_copy(exact), check_input(model, example))
    return folded_copy(model)


def folded_copy(model: nn.Module, keep: tuple[type[nn.Module], ...] = ()) -> nn.Module:
    """The folding itself, unchecked. keep: chains of these types stay chains, only their parts are folded."""
    fused = copy.deepcopy(model).eval()
    with torch.no_grad():
        _fold_chains(fused, keep)
        for module in fused.modules():
            _fold_scales(module)
            if isinstance(getattr(module, "unused", None), UnusedParameters):
                module.unused = UnusedParameters()
    return fused


def _fold_chains(module: nn.Module, keep: tuple[type[nn.Module], ...]) -> None:
    for name, child in list(module.named_children()):
        folded = None if isinstance(child, keep) else fold(child)
        if folded is not None:
            setattr(module, name, folded)
        else:
            _fold_chains(child, keep)
    if isinstance(module, nn.Sequential):
        _fold_pairs(module)


def _fold_pairs(row: nn.Sequential) -> None:
    """Conv2d followed by BatchNorm2d in a user's own Sequential."""
    for i in range(len(row) - 1):
        conv, bn = row[i], row[i + 1]
        if type(conv) is nn.Conv2d and type(bn) is nn.BatchNorm2d and conv.padding_mode == "zeros":
            row[i], row[i + 1] = nn.utils.fusion.fuse_conv_bn_eval(conv, bn), nn.Identity()


def _fold_scales(module: nn.Module) -> None:
    if isinstance(module, Residual) and module.scale is not None:
        last = [m for m in module.branch.modules() if isinstance(m, FoldedConv)][-1]
        last.weight.mul_(module.scale.view(-1, 1, 1, 1))
        cast(Tensor, last.bias).mul_(module.scale)
        module.scale = None
    if isinstance(module, SpikingSelfAttention) and isinstance(module.out.neuron, LIF):
        module.out.neuron.rescale(1.0 / module.scale)
        module.scale = 1.0


def check_input(model: nn.Module, example: Tensor | None) -> Tensor:
    """The float64 input on which two forms of a model are compared."""
    if example is None:
        if not hasattr(model, "example_input"):
            raise InputError("give an example input: only registered models know theirs")
        example = cast(Callable[[int], Tensor], model.example_input)(2)
        crop = [slice(None)] * (example.ndim - 2) + [slice(CHECK_SIZE), slice(CHECK_SIZE)]
        example = torch.randn(
            example[tuple(crop)].shape, generator=torch.Generator().manual_seed(0)
        )
    return example.detach().double().cpu()


def check_equal(model: nn.Module, other: nn.Module, x: Tensor, neurons: bool = True) -> None:
    """Raise SpikedrivenError unless two float64 models agree on x. neurons: compare what each neuron reads, too."""
    expected, output = _neuron_inputs(model, x)
    found, other_output = _neuron_inputs(other, x)
    for name, value in expected.items() if neurons else ():
        _expect(name, found.get(name), value)
    _expect("output", other_output, output)


def _expect(name: str, found: Tensor | None, expected: Tensor) -> None:
    """Up to a constant factor: a folded scale reaches the neuron as a larger input and a larger threshold."""
    if found is None or found.shape != expected.shape:
        raise SpikedrivenError(
            f"the two networks differ at {name}: shapes {found and found.shape} and {expected.shape}"
        )
    size = expected.abs().max().item()
    if name != "output" and size and found.abs().max() > 0:
        found = found * (expected.norm() / found.norm())
    difference = (found - expected).abs().max().item()
    if difference > TOLERANCE * max(size, 1.0):
        raise SpikedrivenError(
            f"the two networks differ at {name}: by {difference:.3g}, where values reach {size:.3g}. The folding rules "
            f"misread a module of this network; check=False returns the copy regardless"
        )


def _neuron_inputs(model: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    inputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _m, args, name=name: inputs.__setitem__(name, args[0])
        )
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    ]
    try:
        with torch.no_grad(), as_graphed(model):
            return inputs, model(x)
    finally:
        for hook in hooks:
            hook.remove()
