"""From a module to its `SpikeGraph`, through `torch.export` in evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikedriven.errors import InputError
from spikedriven.graph.kinds import Constant, Input, Kind
from spikedriven.graph.nodes import Node, SpikeGraph, Weight
from spikedriven.graph.rules import Call, Operand, apply_rule

INPUT = Input()


def trace(model: nn.Module, example: Tensor, input_kind: Kind = INPUT) -> SpikeGraph:
    """The spike graph of a model, in evaluation mode (the model's own mode is put back afterwards).

    Traced is ``forward``, or the method that the model names in an attribute ``graph_method``: a network whose forward
    draws random numbers, as masked pre-training does, shows its encoder instead.

    example: one batch as the model takes it, [B, C, H, W] or [B, T, C, H, W]; only its shape and dtype matter.
    input_kind: what the input is; `Count` says that it holds whole numbers (event counts) the first layer can add.
    Raises InputError for an operator without a rule (see `rules.register_rule`), or a model torch cannot export.
    """
    if not isinstance(example, Tensor) or example.ndim == 0 or example.shape[0] == 0:
        raise InputError(
            f"trace needs a batch of at least one example as a tensor, found {_describe(example)}"
        )
    with as_graphed(model):
        exported, dynamic = _export(model, example)
    reader = _Reader(exported, input_kind)
    return SpikeGraph(
        nodes=tuple(reader.live_nodes()),
        outputs=reader.outputs,
        batch_size=1 if dynamic else example.shape[0],
        dynamic_batch=dynamic,
        exported=exported,
    )


def _describe(value: object) -> str:
    return f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


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
def as_graphed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, with ``model(x)`` calling what `trace` traces. May be entered again inside."""
    name = getattr(model, "graph_method", "forward")
    with evaluating(model):
        if name == "forward" or "forward" in vars(model):
            yield
            return
        object.__setattr__(model, "forward", getattr(model, name))
        try:
            yield
        finally:
            object.__delattr__(model, "forward")


def _export(model: nn.Module, example: Tensor) -> tuple[torch.export.ExportedProgram, bool]:
    """The exported program, and whether its batch axis is free. A batch of one would be taken for a constant."""
    failures = []
    for batch in (max(example.shape[0], 2), None):
        arguments = example.new_zeros(
            batch or example.shape[0], *example.shape[1:]
        )  # export marks what it is given
        dynamic = None if batch is None else ({0: torch.export.Dim.DYNAMIC},)
        try:
            with torch.no_grad():
                return torch.export.export(
                    model, (arguments,), dynamic_shapes=dynamic
                ), batch is not None
        except (
            Exception
        ) as error:  # whatever a user's forward raises; told below, with its cause attached
            failures.append(error)
    raise InputError(
        f"torch.export cannot trace {type(model).__name__} with an example of {_describe(example)}: {failures[-1]}"
    ) from failures[-1]


class _Reader:
    """Walks the exported program once, in order, and turns each operator call into a `Node`."""

    def __init__(self, exported: torch.export.ExportedProgram, input_kind: Kind) -> None:
        self.nodes: list[Node] = []
        self.outputs: tuple[str, ...] = ()
        self.by_id: dict[str, Node] = {}
        self.input_kind = input_kind
        signature = exported.graph_signature
        self.weights = {
            spec.arg.name: spec.target
            for spec in signature.input_specs
            if spec.target is not None and hasattr(spec.arg, "name")
        }
        for node in exported.graph.nodes:
            self.read(node)

    def read(self, node: fx.Node) -> None:
        if node.op == "placeholder" and node.name not in self.weights:
            self.add(
                Node(
                    node.name,
                    "input",
                    "input",
                    "",
                    {},
                    {},
                    self.input_kind,
                    *_shape_and_dtype(node),
                )
            )
        elif node.op == "output":
            self.outputs = tuple(argument.name for argument in node.all_input_nodes)
        elif node.op == "call_function" and _is_tensor(node) and node.users:
            self.add(self.call(node))

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
        target = _target_name(caller.target)
        shape, dtype = _shape_and_dtype(node)
        operands = {
            name: Operand(self.by_id[i].kind, self.by_id[i].shape) for name, i in inputs.items()
        }
        module = _module_path(caller)
        op, kind = apply_rule(Call(target, operands, attrs | extra, shape), module)
        if isinstance(kind, Constant) and kind.value is not None:
            inputs = {}  # ``zeros_like`` and its kin read a shape, not a value
        return Node(node.name, op, target, module, inputs, attrs | extra, kind, shape, dtype)

    def arguments(self, node: fx.Node) -> tuple[dict[str, str], dict[str, Any]]:
        """A call's arguments under their schema names: ids of producing nodes, and everything else."""
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


def _target_name(target: Any) -> str:
    """``"aten::add"`` for ``aten.add_.Tensor``: without overload, and in-place operators under their plain name."""
    namespace, name = target._schema.name.split("::")
    return f"{namespace}::{name if name.startswith('__') else name.rstrip('_')}"


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _shape_and_dtype(node: fx.Node) -> tuple[tuple[int, ...], torch.dtype]:
    value = node.meta["val"]
    return tuple(plain(size) for size in value.shape), value.dtype


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
