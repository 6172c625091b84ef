"""ONNX: the whole network in plain operators, with a free batch axis, checked in onnxruntime.

Neurons are decomposed into compare, select, multiply and add, unrolled over T; no custom operator
remains.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from spikedriven.errors import InputError
from spikedriven.export.onnx_quantized import translations
from spikedriven.files import write_atomic
from spikedriven.graph.inputs import Inputs, as_inputs, first_of
from spikedriven.graph.measurement import BATCH_AS_TIME
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.paths import name_of
from spikedriven.graph.steps import without_time
from spikedriven.graph.trace import as_graphed, trace
from spikedriven.models.names import CLASSES, class_names
from spikedriven.neurons import decompositions

#: Of weights and inputs; onnxruntime has no kernels for them on CPUs.
_NOT_IN_ONNX = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
#: A protobuf file cannot be larger.
LARGEST_FILE = 2**31 - 1


@dataclass(frozen=True)
class ONNXReport:
    """What was written, and how onnxruntime's outputs compare with torch's on the check batches.

    same_top1: share of outputs whose largest entry is the same. largest_difference: over all
    outputs, absolute; largest_output: for scale.
    """

    path: Path
    operators: int
    opset: int
    images: int
    same_top1: float
    largest_difference: float
    largest_output: float

    @property
    def ok(self) -> bool:
        return self.same_top1 == 1.0

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.operators} operators, opset {self.opset}, "
            f"{self.path.stat().st_size / 1e6:.1f} MB; onnxruntime against torch on {self.images} "
            "inputs: same top-1 "
            f"{self.same_top1:.1%}, largest difference {self.largest_difference:.2g} where outputs "
            "reach "
            f"{self.largest_output:.2g}"
        )


def export_onnx(model: nn.Module, example: Inputs, path: str | Path) -> ONNXReport:
    """Write a model as ONNX and run the file on ``example`` and on its first image alone.

    example: a batch as the model takes it (float32), or a tuple of its inputs; its content is what
    the check compares. The file's input is called "input" (several: as the model's forward calls
    them), its output "output" (several: "output_0", "output_1" ...); the batch axis is free unless
    the model itself fixes it. Names of classes, where the model has them (that of a run has), stand
    in the file's metadata under "classes", a JSON list.
    Raises InputError without the extra ``spikedriven[export]``, for an operator that is neither
    torch's nor ours, for weights in bfloat16, where onnxruntime cannot run the result, and where
    the file would exceed 2 GB; no file is written then.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> from torch import nn
        >>> from spikedriven.neurons import IntegerNeuron
        >>> model = nn.Sequential(nn.Linear(8, 16), IntegerNeuron(levels=4), nn.Linear(16, 2))
        >>> model, features = model.eval(), torch.rand(4, 8)
        >>> report = sd.export_onnx(model, features, "net.onnx")
        >>> print(report)
        net.onnx: ... operators, opset ...
    """
    for name in ("onnxscript", "onnxruntime"):
        need(name)
    path = Path(path)
    _check_types(model, as_inputs(example))
    with torch.no_grad(), as_graphed(model):
        graph = trace(
            model, example
        )  # names an unknown operator, and exports with a free batch axis
        timeless = without_time(graph)
        if timeless:
            raise InputError(f"{BATCH_AS_TIME}: {', '.join(timeless)}")
        program = _onnx_program(graph, as_inputs(example))
        batches = [as_inputs(example)]
        if graph.dynamic_batch:
            batches.append(as_inputs(first_of(example)))
        expected = [tree_leaves(model(*batch)) for batch in batches]
    proto = program.model_proto
    if class_names(model):
        entry = proto.metadata_props.add()
        entry.key, entry.value = CLASSES, json.dumps(class_names(model))
    data = proto.SerializeToString()
    if len(data) > LARGEST_FILE:
        raise InputError(
            f"the ONNX file would have {len(data) / 1e9:.1f} GB; one file holds at most 2"
        )
    session = _session(data)
    write_atomic(path, data)
    return _checked(
        session, path, len(proto.graph.node), proto.opset_import[0].version, batches, expected
    )


def need(name: str) -> ModuleType:
    """An optional package, or an error that says how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(f"this export needs {name}: pip install 'spikedriven[export]'") from error


def _names(graph: SpikeGraph) -> tuple[list[str], list[str]]:
    """Of the file's inputs and outputs."""
    inputs = [node.id for node in graph.find("input")]
    outputs = [f"output_{i}" for i in range(len(graph.outputs))]
    return inputs if len(inputs) > 1 else ["input"], outputs if len(outputs) > 1 else ["output"]


def _onnx_program(graph: SpikeGraph, example: tuple[Tensor, ...]) -> torch.onnx.ONNXProgram:
    _merge_twins(graph.exported.graph_module)
    plain = graph.exported.run_decompositions(decompositions())
    inputs, outputs = _names(graph)
    try:
        program = torch.onnx.export(
            plain,
            example,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: "batch"}, *[None] * (len(example) - 1))
            if graph.dynamic_batch
            else None,
            input_names=inputs,
            output_names=outputs,
            custom_translation_table=translations(),
        )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(_without_onnx(graph, error)) from error
    assert program is not None  # it is, with dynamo=True and no file name
    return program


def _without_onnx(graph: SpikeGraph, error: BaseException) -> str:
    """What PyTorch's exporter could not write, and where the network calls it."""
    told: BaseException = error
    while told.__cause__ is not None:
        told = told.__cause__
    named = [node for node in graph if node.target.replace("::", ".") in str(told)]
    if not named:
        return f"this network cannot be written as ONNX: {told}"
    places = ", ".join(dict.fromkeys(f"{node.target} in {name_of(node)}" for node in named))
    return (
        f"ONNX has no form of {places}; put other operators in its place (a pool with a fixed "
        "window for "
        "an adaptive one, for instance)"
    )


def _merge_twins(module: fx.GraphModule) -> None:
    """Neurons with equal options that read the same value become one.

    They compute the same; and onnxscript 0.7 gives the limits of two ``Clip`` on one value the same
    name, which makes the file invalid.
    """
    first: dict[tuple[Any, ...], fx.Node] = {}
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target in decompositions():
            twin = first.setdefault((node.target, node.args, tuple(node.kwargs.items())), node)
            if twin is not node:
                node.replace_all_uses_with(twin)
                module.graph.erase_node(node)
    module.recompile()


def _top1(output: Tensor) -> Tensor:
    """The largest class of logits, or the largest channel at each position of maps [B, C, H, W]."""
    return output.argmax(1 if output.ndim == 4 else -1)


def _check_types(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    """InputError for numbers that the operators of the file have no form of on CPUs."""
    tensors = [
        *model.named_parameters(),
        *model.named_buffers(),
        *((f"input {i}", x) for i, x in enumerate(example)),
    ]
    odd = [
        (name, x.dtype)
        for name, x in tensors
        if x.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    ]
    if odd:
        raise InputError(
            f"{odd[0][0]} is {str(odd[0][1]).removeprefix('torch.')}, which onnxruntime cannot "
            "run: write the model in "
            "float32, export_onnx(model.float(), example.float(), path)"
        )


def _session(data: bytes) -> Any:
    """The file running, before there is a file. InputError where onnxruntime does not take it."""
    try:
        return need("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class for each of its status codes
        raise InputError(
            f"onnxruntime cannot run this network, so no file is written: {error}"
        ) from error


def _checked(
    session: Any,
    path: Path,
    operators: int,
    opset: int,
    batches: list[tuple[Tensor, ...]],
    expected: list[list[Tensor]],
) -> ONNXReport:
    names = [one.name for one in session.get_inputs()]
    pairs: list[tuple[Tensor, Tensor]] = []
    for batch, outputs in zip(batches, expected, strict=True):
        given = {name: x.cpu().numpy() for name, x in zip(names, batch, strict=True)}
        found = map(torch.from_numpy, session.run(None, given))
        pairs += zip(found, (output.cpu() for output in outputs), strict=True)
    same = torch.cat([(_top1(a) == _top1(b)).flatten() for a, b in pairs])
    return ONNXReport(
        path=path,
        operators=operators,
        opset=opset,
        images=sum(len(batch[0]) for batch in batches),
        same_top1=same.double().mean().item(),
        largest_difference=max((a - b).abs().max().item() for a, b in pairs),
        largest_output=max(b.abs().max().item() for _, b in pairs),
    )
