"""From a module to its `SpikeGraph`, through `torch.export` in evaluation mode."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikedriven.errors import InputError
from spikedriven.graph import rules  # noqa: F401  (fills the registry)
from spikedriven.graph.calls import Call, Operand, apply_rule, target_name
from spikedriven.graph.inputs import Inputs, as_inputs
from spikedriven.graph.kinds import Constant, Input, Kind, Membrane
from spikedriven.graph.neuron_calls import NeuronCall, NeuronCalls
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.writes import written_once

INPUT = Input()


def trace(model: nn.Module, example: Inputs, input_kind: Kind = INPUT) -> SpikeGraph:
    """The spike graph of a model, in evaluation mode (the model's own mode is put back afterwards).

    Traced is ``forward``, or the method that the model names in an attribute ``graph_method``: a
    network whose forward draws random numbers, as masked pre-training does, shows its encoder
    instead.

    example: one batch as the model takes it, [B, C, H, W] or [B, T, C, H, W], or a tuple of its
    inputs; only shapes and dtypes matter. input_kind: what the inputs are; `Count` says that they
    hold whole numbers (event counts) the first layer can add.
    Raises InputError for an operator without a rule (see `rules.register_rule`), or a model torch
    cannot export.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> graph = sd.trace(model, images)
        >>> graph.find("neuron")[0].module, str(graph.find("neuron")[0].kind)
        ('stem.0.neuron', 'spike')
        >>> graph.find("conv")[0].attrs["stride"]
        [1, 1]
    """
    inputs = as_inputs(example)
    with as_graphed(model):
        exported, dynamic = _export(model, inputs)
        reader = _Reader(model, exported, input_kind)
    return SpikeGraph(
        nodes=tuple(reader.live_nodes()),
        outputs=reader.outputs,
        batch_size=1 if dynamic else len(inputs[0]),
        dynamic_batch=dynamic,
        exported=exported,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the while; each module's own mode comes back."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _own_precision(model: nn.Module) -> Iterator[None]:
    """A float64 copy stays in float64 where its forward makes tensors (``torch.zeros(...)``)."""
    usual = torch.get_default_dtype()
    if any(parameter.dtype == torch.float64 for parameter in model.parameters()):
        torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


@contextmanager
def as_graphed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, with ``model(x)`` calling what `trace` traces. May be entered again
    inside.
    """
    name = getattr(model, "graph_method", "forward")
    with evaluating(model), _own_precision(model):
        if name == "forward" or "forward" in vars(model):
            yield
            return
        object.__setattr__(model, "forward", getattr(model, name))
        try:
            yield
        finally:
            object.__delattr__(model, "forward")


def _export(
    model: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[torch.export.ExportedProgram, bool]:
    """The exported program, and whether its batch axis is free. A batch of one would be taken
    for a constant.
    """
    failures = []
    size, free = len(inputs[0]), tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    for batch, dynamic in ((max(size, 2), free), (size, None)):
        arguments = tuple(
            x.new_zeros(batch, *x.shape[1:]) for x in inputs
        )  # export marks what it is given
        try:
            with torch.no_grad():
                exported = torch.export.export(model, arguments, dynamic_shapes=dynamic)
            return written_once(exported), dynamic is not None
        except (
            Exception
        ) as error:  # whatever a user's forward raises; told below, with its cause attached
            failures.append(error)
    shapes = ", ".join(str(list(x.shape)) for x in inputs)
    raise InputError(
        f"torch.export cannot trace {type(model).__name__} with an example of shape {shapes}: "
        f"{failures[-1]}"
    ) from failures[-1]


class _Reader:
    """Walks the exported program once, in order, and turns each operator call into a `Node`."""

    def __init__(
        self, model: nn.Module, exported: torch.export.ExportedProgram, input_kind: Kind
    ) -> None:
        self.nodes: list[Node] = []
        self.outputs: tuple[str, ...] = ()
        self.by_id: dict[str, Node] = {}
        self.input_kind = input_kind
        self.neuron_calls = NeuronCalls(model, exported.graph)
        signature = exported.graph_signature
        self.weights = {
            spec.arg.name: spec.target
            for spec in signature.input_specs
            if spec.target is not None and hasattr(spec.arg, "name")
        }
        self.returned = set(signature.user_outputs)
        for node in exported.graph.nodes:
            self.read(node)

    def read(self, node: fx.Node) -> None:
        if node.op == "placeholder" and node.name not in self.weights:
            shape, dtype = _shape_and_dtype(node)
            self.add(
                Node(
                    node.name,
                    "input",
                    "input",
                    "",
                    {},
                    {},
                    self.input_kind,
                    shape,
                    dtype,
                    node.name,
                    _batch_axis(node),
                )
            )
        elif node.op == "output":
            named = (argument.name for argument in node.all_input_nodes)
            self.outputs = tuple(name for name in named if name in self.returned)
        elif node.op == "call_function" and _is_tensor(node) and node.users:
            call = self.neuron_calls.of(node)
            if call is None or self.computes_a_constant(call):
                self.add(self.call(node))
            elif call.leaves(node):
                self.add(self.neuron(node, call))

    def live_nodes(self) -> list[Node]:
        """The inputs, and what the outputs depend on."""
        wanted = set(self.outputs)
        for node in reversed(self.nodes):
            if node.id in wanted:
                wanted.update(node.inputs.values())
        return [node for node in self.nodes if node.id in wanted or node.op == "input"]

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.by_id[node.id] = node

    def call(self, node: fx.Node) -> Node:
        """One operator call; ``getitem`` stands for one output of the operator it reads."""
        caller, extra = node, {}
        if not isinstance(node.target, torch._ops.OpOverload):
            if getattr(node.target, "__name__", "") != "getitem" or not isinstance(
                node.args[0], fx.Node
            ):
                raise InputError(
                    f"the exported model calls {node.target}, which is no torch operator"
                )
            caller, extra = node.args[0], {"output": node.args[1]}
        inputs, attrs = self.arguments(caller)
        target = target_name(caller.target)
        if target == "aten::copy":
            del inputs["self"]  # it is written over
        shape, dtype = _shape_and_dtype(node)
        operands = {
            name: Operand(self.by_id[i].kind, self.by_id[i].shape) for name, i in inputs.items()
        }
        module = _module_path(caller)
        op, kind = apply_rule(Call(target, operands, attrs | extra, shape), module)
        if isinstance(kind, Constant) and kind.value is not None:
            inputs = {}  # ``zeros_like`` and its kin read a shape, not a value
        attrs |= extra
        return Node(
            node.name,
            op,
            target,
            module,
            inputs,
            attrs,
            kind,
            shape,
            dtype,
            caller.name,
            _batch_axis(node),
        )

    def computes_a_constant(self, call: NeuronCall) -> bool:
        """A neuron that reads weights alone: its operators stay, so that their values can be
        computed.
        """
        return all(isinstance(self.by_id[node.name].kind, Constant) for node in self.read_by(call))

    def read_by(self, call: NeuronCall) -> list[fx.Node]:
        return [node for node in call.inputs() if node.name not in self.weights]

    def neuron(self, node: fx.Node, call: NeuronCall) -> Node:
        """A whole call of a neuron that is written in PyTorch's operators, for one of the
        values that leave it.
        """
        read = sorted(
            self.read_by(call), key=lambda n: isinstance(self.by_id[n.name].kind, Constant)
        )
        inputs = {f"x{i or ''}": source.name for i, source in enumerate(read)}
        neuron = call.neuron
        attrs = {"levels": neuron.levels, "unit": neuron.unit, "spec": neuron.spec()}
        target = f"{type(neuron).__module__}::{type(neuron).__qualname__}"
        op, kind = (
            ("neuron", call.kind)
            if node is self.neuron_calls.spikes(call)
            else ("membrane", Membrane())
        )
        shape, dtype = _shape_and_dtype(node)
        return Node(
            node.name,
            op,
            target,
            call.module,
            inputs,
            attrs,
            kind,
            shape,
            dtype,
            call.nodes[0].name,
            _batch_axis(node),
        )

    def arguments(self, node: fx.Node) -> tuple[dict[str, str], dict[str, Any]]:
        """A call's arguments under their schema names: ids of producing nodes, and everything
        else.
        """
        inputs: dict[str, str] = {}
        attrs: dict[str, Any] = {}
        assert isinstance(node.target, torch._ops.OpOverload)
        for i, argument in enumerate(node.target._schema.arguments):
            value = (
                node.args[i]
                if i < len(node.args)
                else node.kwargs.get(argument.name, _default(argument))
            )
            if isinstance(value, list | tuple) and any(_is_tensor(item) for item in value):
                for j, item in enumerate(value):
                    self.file(f"{argument.name}[{j}]", item, inputs, attrs)
            else:
                self.file(argument.name, value, inputs, attrs)
        return inputs, attrs

    def file(self, name: str, value: Any, inputs: dict[str, str], attrs: dict[str, Any]) -> None:
        if isinstance(value, fx.Node) and value.name in self.weights:
            attrs[name] = Weight(self.weights[value.name], tuple(value.meta["val"].shape))
        elif _is_tensor(value):
            inputs[name] = value.name
        else:
            attrs[name] = plain(value)


def _default(argument: Any) -> Any:
    return argument.default_value if argument.has_default_value() else None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, fx.Node) and isinstance(value.meta.get("val"), Tensor)


def _module_path(node: fx.Node) -> str:
    """Qualified name of the module that made the call; the second call of a module, ``name@1``,
    has its name too.
    """
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return re.sub(r"@\d+", "", paths[-1]) if paths else ""


def _shape_and_dtype(node: fx.Node) -> tuple[tuple[int, ...], torch.dtype]:
    value = node.meta["val"]
    return tuple(plain(size) for size in value.shape), value.dtype


def _batch_axis(node: fx.Node) -> int | None:
    """The first axis whose size is not a number."""
    sizes = node.meta["val"].shape
    return next((i for i, size in enumerate(sizes) if isinstance(size, torch.SymInt)), None)


def plain(value: Any) -> Any:
    """Python values with every symbolic size replaced by its size for a batch of one."""
    if isinstance(value, fx.Node):
        return plain(value.meta["val"])
    if isinstance(value, torch.SymInt):
        expression = value.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, 1)))
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value
