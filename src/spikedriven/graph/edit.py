"""Carrying out a plan of folds: numbers go into weights and thresholds, modules that are left idle
hand on their input.

Values come from the plan's graph in float64; what is stored has the dtype of the module that it
goes into.
"""

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph.chains import Chain, Step, layer_of
from spikedriven.graph.folding import Plan
from spikedriven.graph.folds import Backward, End, Forward, Left, Spread
from spikedriven.graph.linear_maps import WeightLayer, in_a_row, scaled_inputs, scaled_outputs
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.paths import name_of
from spikedriven.graph.run import constants
from spikedriven.graph.sums import Summand
from spikedriven.layers.fold import FOLDED_CONVS, Idle
from spikedriven.neurons import Neuron

#: How far the border of a padded chain may be from what its layers make of zeros, relative to the
#: largest value.
BORDER_TOLERANCE = 1e-5


class CannotFoldError(Exception):
    """A fold that the structure allows and the numbers or the modules do not. Carries what is
    left.
    """

    def __init__(self, left: Left) -> None:
        super().__init__(str(left))
        self.left = left


def carry_out(plan: Plan, model: nn.Module) -> list[Left]:
    """Edit a model in place. Returns the places that its modules did not allow to edit, each
    with its reason.
    """
    editor = _Editor(plan.graph, model)
    left = []
    folds: tuple[Forward | Backward | Spread, ...] = (*plan.forward, *plan.backward, *plan.spread)
    with torch.no_grad():
        # What goes into a chain's first layer comes before the chain, what multiplies its output
        # after it.
        for fold in folds:
            try:
                editor.carry_out(fold)
            except CannotFoldError as found:
                left.append(found.left)
    return left


class Values:
    """The constants of affine nodes: one element for each that the operator has, float64."""

    def __init__(self, graph: SpikeGraph) -> None:
        self.graph = graph

    @cached_property
    def computed(self) -> Mapping[str, Tensor]:
        return constants(self.graph)

    def of(self, node: Node, name: str) -> Tensor | None:
        """An argument of a node that is a weight, a number or computed from weights; None for
        any other.
        """
        value = node.attrs.get(name)
        if isinstance(value, Weight):
            return self.graph.weights[value.name].double()
        if isinstance(value, int | float):
            return torch.tensor(float(value), dtype=torch.float64)
        found = self.computed.get(node.inputs.get(name, ""))
        return None if found is None else found.double()

    def affine(self, node: Node) -> tuple[Tensor, Tensor]:
        """(factor, shift): the node computes ``factor * x + shift``."""
        if node.op == "batchnorm":
            return self._batch_norm(node)
        if node.target == "aten::neg":
            return torch.tensor(-1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
        constant, data_first = self.of(node, "other"), True
        if constant is None:
            constant, data_first = cast(Tensor, self.of(node, "self")), False
        one = torch.ones_like(constant)
        if node.op == "scale":
            return (1.0 / constant if node.target == "aten::div" else constant), torch.zeros_like(
                constant
            )
        alpha = float(node.attrs.get("alpha", 1))
        on_data, on_constant = (1.0, alpha) if data_first else (alpha, 1.0)
        if node.target == "aten::sub":
            on_data, on_constant = (
                (on_data, -on_constant) if data_first else (-on_data, on_constant)
            )
        if node.target == "aten::rsub":  # other - alpha * self
            on_data, on_constant = (-alpha, 1.0) if data_first else (1.0, -alpha)
        return one * on_data, constant * on_constant

    def _batch_norm(self, node: Node) -> tuple[Tensor, Tensor]:
        mean, variance = (
            cast(Tensor, self.of(node, name)) for name in ("running_mean", "running_var")
        )
        factor = torch.rsqrt(variance + node.attrs["eps"])
        weight, bias = self.of(node, "weight"), self.of(node, "bias")
        factor = factor if weight is None else factor * weight
        return factor, (0.0 if bias is None else bias) - mean * factor


class _Editor:
    def __init__(self, graph: SpikeGraph, model: nn.Module) -> None:
        self.model, self.values = model, Values(graph)
        #: Layers of chains that could not be folded.
        self.unfolded: set[str] = set()

    def carry_out(self, fold: Forward | Backward | Spread) -> None:
        if isinstance(fold, Backward):
            try:
                self.backward(fold)
            except CannotFoldError:
                self.unfolded |= {node.id for chain in fold.calls for node in chain.layers}
                raise
        elif isinstance(fold, Forward):
            self.forward(fold)
        else:
            self.spread(fold)

    # Backward
    # ----------------------------------------------------------------------------------------------

    def backward(self, fold: Backward) -> None:
        chain = fold.calls[0]
        layer = self.folded(chain)
        if fold.place:
            self.replace(fold.place, self.as_module(layer, chain.head))
        else:
            self.store(chain.head, layer)
        for module in fold.idle:
            self.replace(module, Idle())
        for attribute in fold.attributes:
            attribute.set_to_one(self.model)

    def folded(self, chain: Chain) -> WeightLayer:
        """The one layer that a chain is worth."""
        layer, border, widths = self.layer(chain.head), None, ()
        for step in chain.steps:
            if step.role == "pad":
                pads = step.node.attrs["pad"]
                widths = (0,) * (len(layer.kernel) - len(pads) // 2) + tuple(reversed(pads[::2]))
                border = torch.zeros_like(layer.bias)
            elif step.role == "ring":
                inside, outside = self.ring(step.node, widths)
                layer = scaled_outputs(layer, torch.ones_like(inside), inside)
                border = cast(Tensor, border) + outside
            elif step.role == "affine":
                factor, shift = self.per_channel(step)
                layer = scaled_outputs(layer, factor, shift)
                border = None if border is None else border * factor + shift
            else:
                self.check_border(chain, layer, border)
                second = self.layer(step.node)
                layer = in_a_row(layer, second, widths or (0,) * len(second.kernel))
                border, widths = None, ()
        return layer

    def per_channel(self, step: Step) -> tuple[Tensor, Tensor]:
        factor, shift = (
            values.flatten()[step.elements] for values in self.values.affine(step.node)
        )
        return factor, shift

    def ring(self, node: Node, widths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Per channel: the constant inside the map, and the one on its border."""
        _, added = self.values.affine(node)
        full = added.expand(node.shape).movedim(-1 - len(widths), 0)
        inner: tuple[Any, ...] = tuple(
            slice(width, size - width)
            for width, size in zip(widths, node.shape[-len(widths) :], strict=True)
        )
        inside = full[cast(Any, (Ellipsis, *inner))].flatten(1)
        outside = torch.ones(node.shape[-len(widths) :], dtype=torch.bool)
        outside[inner] = False
        around = full[..., outside].flatten(1)
        if (inside != inside[:, :1]).any() or (around != around[:, :1]).any():
            why = "what it adds differs from position to position"
            raise CannotFoldError(
                Left(node.module, "constant", why, "leave it, or add one constant per channel")
            )
        return inside[:, 0], around[:, 0]

    def check_border(self, chain: Chain, layer: WeightLayer, border: Tensor | None) -> None:
        if border is None:
            return
        largest = max(layer.bias.abs().max().item(), 1.0)
        if not torch.allclose(border, layer.bias, rtol=0.0, atol=BORDER_TOLERANCE * largest):
            why = "the border that is padded on is not what the layers before it make of zeros"
            what = "pad with the norm's image of zero, as spikedriven.layers.BatchNormPad2d does"
            raise CannotFoldError(Left(name_of(chain.head), "chain of convolutions", why, what))

    # Forward
    # ----------------------------------------------------------------------------------------------

    def forward(self, fold: Forward) -> None:
        factor, shift = (values.flatten() for values in self.values.affine(fold.calls[0]))
        if fold.ends[0].elements is None and factor.item() <= 0:
            why = f"a factor of {factor.item():g} turns the order of values round"
            raise CannotFoldError(
                Left(fold.calls[0].module, "constant factor", why, "use a positive factor")
            )
        neurons = {
            end.node.module: factor.item() ** -end.degree
            for end in fold.ends
            if end.node.op == "neuron"
        }
        check_rescales(self.model, neurons, fold.calls[0].module)
        for end in fold.ends:
            if end.node.op != "neuron":
                self.take(end, factor, shift)
        for module, scale in neurons.items():
            rescale(self.model.get_submodule(module), scale)
        self.remove(fold)

    def spread(self, fold: Spread) -> None:
        """Nothing is changed unless every layer can take its part."""
        factor, shift = (values.flatten() for values in self.values.affine(fold.calls[0]))
        for summand, place in fold.layers:
            self.check_whole(fold, summand.node)
            if not place and summand.share and shift.any():
                self.check_bias(summand.node)
        for summand, place in fold.layers:
            if place:
                self.scale_module(self.model.get_submodule(place), *_own(summand, factor, shift))
            else:
                layer = self.layer(summand.node)
                own = (values.expand(len(layer.bias)) for values in _own(summand, factor, shift))
                self.store(summand.node, scaled_outputs(layer, *own))
        self.remove(fold)

    def check_whole(self, fold: Spread, node: Node) -> None:
        """A layer whose own chain stays does not give what the sum reads."""
        if node.id in self.unfolded:
            why = f"what follows {name_of(node)} stays"
            raise CannotFoldError(
                Left(fold.calls[0].module, fold.calls[0].op, why, "mend that place first")
            )

    def scale_module(self, module: nn.Module, factor: Tensor, shift: Tensor) -> None:
        """A layer that `as_module` made."""
        weight, bias = cast(Tensor, module.weight), cast(Tensor, module.bias)
        weight.mul_(factor.to(weight).view(-1, *[1] * (weight.ndim - 1)))
        bias.mul_(factor.to(bias)).add_(shift.to(bias))

    def remove(self, fold: Forward | Spread) -> None:
        """Take the factor out of the forward."""
        if fold.attribute is None:
            self.replace(fold.idle, Idle())
        else:
            fold.attribute.set_to_one(self.model)

    def take(self, end: End, factor: Tensor, shift: Tensor) -> None:
        layer = self.layer(end.node)
        inputs = layer.weight.shape[0 if layer.transposed else 1] * (
            1 if layer.transposed else layer.groups
        )
        if end.elements is None:
            factors, shifts = (factor**end.degree).expand(inputs), factor.new_zeros(inputs)
        else:
            factors, shifts = factor[end.elements], shift[end.elements]
        self.store(end.node, scaled_inputs(layer, factors, shifts))

    # Modules
    # ----------------------------------------------------------------------------------------------

    def layer(self, node: Node) -> WeightLayer:
        """As it is now: earlier folds may have gone into it."""
        weight = self.tensor(cast(Weight, node.weight("weight")).name)
        owner = self.model.get_submodule(node.module)
        bias = node.weight("bias")
        found = self.tensor(bias.name) if bias is not None else owner._parameters.get("bias")
        return layer_of(node, weight.cpu(), None if found is None else found.cpu())

    def tensor(self, name: str) -> Tensor:
        parent, _, leaf = name.rpartition(".")
        return cast(Tensor, getattr(self.model.get_submodule(parent), leaf))

    def store(self, node: Node, layer: WeightLayer) -> None:
        weight, bias = self.tensor(cast(Weight, node.weight("weight")).name), node.weight("bias")
        owner = self.model.get_submodule(node.module)
        if bias is not None:
            self.tensor(bias.name).copy_(layer.bias)
        elif layer.bias.any() or owner._parameters.get("bias") is not None:
            self.check_bias(node)
            owner.bias = nn.Parameter(layer.bias.to(weight), requires_grad=False)
        weight.copy_(layer.weight)

    def check_bias(self, node: Node) -> None:
        """Raise CannotFoldError where a layer has no bias and can be given none."""
        owner = self.model.get_submodule(node.module)
        own = cast(Weight, node.weight("weight")).name == f"{node.module}.weight".lstrip(".")
        if node.weight("bias") is None and not (own and "bias" in owner._parameters):
            why = f"the weights of {name_of(node)} would take it, but have no bias for its shift"
            raise CannotFoldError(
                Left(node.module, "batch norm", why, "use nn.Conv2d, nn.Linear or the like there")
            )

    def as_module(self, layer: WeightLayer, node: Node) -> nn.Module:
        """A module of PyTorch's with this arithmetic, in the dtype and on the device of the
        chain's first weights.
        """
        like = self.tensor(cast(Weight, node.weight("weight")).name)
        outputs, inputs = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
        place: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
        if not layer.kernel:
            made: nn.Module = nn.Linear(inputs, outputs, **place)
        else:
            make: Any = FOLDED_CONVS[len(layer.kernel)]
            options = (layer.kernel, layer.stride, layer.padding, layer.dilation, layer.groups)
            made = make(inputs, outputs, *options, **place)
        cast(Tensor, made.weight).copy_(layer.weight)
        cast(Tensor, made.bias).copy_(layer.bias)
        return made.eval().requires_grad_(False)

    def replace(self, path: str, module: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.model.get_submodule(parent), name, module.eval())


def _own(summand: Summand, factor: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and shift of a layer's channels."""
    if summand.elements is None:
        return factor, torch.zeros_like(factor)
    share = (
        shift[summand.elements] / summand.share
        if summand.share
        else torch.zeros(len(summand.elements)).double()
    )
    return factor[summand.elements], share


def check_rescales(model: nn.Module, factors: Mapping[str, float], place: str) -> None:
    """Raise CannotFoldError unless each neuron takes its factor."""
    for name, factor in factors.items():
        try:
            rescale(model.get_submodule(name), factor, dry=True)
        except InputError as error:
            why = f"the threshold of {name} would take it, but {error}"
            raise CannotFoldError(
                Left(place, "constant factor", why, "leave the factor, or mend the neuron")
            ) from error


def rescale(neuron: nn.Module, factor: float, dry: bool = False) -> None:
    """Tell a neuron that its input comes multiplied by ``factor`` from now on. dry: only see
    that it can take it.
    """
    target = copy.deepcopy(neuron) if dry else neuron
    if not isinstance(target, Neuron):
        raise InputError(f"{type(neuron).__name__} has no method rescale(factor)")
    target.rescale(factor)
