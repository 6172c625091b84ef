"""ONNX: the whole network in plain operators, with a free batch axis, checked in onnxruntime.

Neurons are decomposed into compare, select, multiply and add, unrolled over T; no custom operator remains.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

from spikedriven.errors import InputError
from spikedriven.graph.trace import as_graphed, trace
from spikedriven.neurons import decompositions
from spikedriven.training.files import write_atomic

#: A protobuf file cannot be larger.
LARGEST_FILE = 2**31 - 1


@dataclass(frozen=True)
class ONNXReport:
    """What was written, and how onnxruntime's outputs compare with torch's on the check batches.

    same_top1: share of outputs whose largest entry is the same. largest_difference: over all outputs, absolute;
    largest_output: for scale.
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
            f"{self.path.stat().st_size / 1e6:.1f} MB; onnxruntime against torch on {self.images} inputs: same top-1 "
            f"{self.same_top1:.1%}, largest difference {self.largest_difference:.2g} where outputs reach "
            f"{self.largest_output:.2g}"
        )


def export_onnx(model: nn.Module, example: Tensor, path: str | Path) -> ONNXReport:
    """Write a model as ONNX and run the file on ``example`` and on its first input alone.

    example: a batch as the model takes it (float32); its content is what the check compares. The file's input is
    called "input", its output "output", its batch axis is free unless the model itself fixes it.
    Raises InputError without the extra ``spikedriven[export]``, for an operator that is neither torch's nor ours, and
    where the file would exceed 2 GB.
    """
    for name in ("onnxscript", "onnxruntime"):
        need(name)
    path = Path(path)
    with torch.no_grad(), as_graphed(model):
        program = _onnx_program(model, example)
        expected = [model(batch) for batch in (example, example[:1])]
    data = program.model_proto.SerializeToString()
    if len(data) > LARGEST_FILE:
        raise InputError(
            f"the ONNX file would have {len(data) / 1e9:.1f} GB; one file holds at most 2"
        )
    write_atomic(path, data)
    proto = program.model_proto
    return _checked(path, len(proto.graph.node), proto.opset_import[0].version, example, expected)


def need(name: str) -> ModuleType:
    """An optional package, or an error that says how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(f"this export needs {name}: pip install 'spikedriven[export]'") from error


def _onnx_program(model: nn.Module, example: Tensor) -> torch.onnx.ONNXProgram:
    graph = trace(model, example)  # names an unknown operator, and exports with a free batch axis
    _merge_twins(graph.exported.graph_module)
    plain = graph.exported.run_decompositions(decompositions())
    batch = ({0: "batch"},) if graph.dynamic_batch else None
    program = torch.onnx.export(
        plain, (example,), dynamo=True, verbose=False, dynamic_shapes=batch, input_names=["input"],
        output_names=["output"],
    )  # fmt: skip
    assert program is not None  # it is, with dynamo=True and no file name
    return program


def _merge_twins(module: fx.GraphModule) -> None:
    """Neurons with equal options that read the same value become one.

    They compute the same; and onnxscript 0.7 gives the limits of two ``Clip`` on one value the same name, which makes
    the file invalid.
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


def _checked(
    path: Path, operators: int, opset: int, example: Tensor, expected: list[Tensor]
) -> ONNXReport:
    session = need("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [
        torch.from_numpy(session.run(None, {"input": b.cpu().numpy()})[0])
        for b in (example, example[:1])
    ]
    expected = [output.cpu() for output in expected]
    pairs = list(zip(found, expected, strict=True))
    same = torch.cat([(_top1(a) == _top1(b)).flatten() for a, b in pairs])
    return ONNXReport(
        path=path,
        operators=operators,
        opset=opset,
        images=len(example) + 1,
        same_top1=same.double().mean().item(),
        largest_difference=max((a - b).abs().max().item() for a, b in pairs),
        largest_output=max(b.abs().max().item() for b in expected),
    )
