"""The ways to run a network on a CPU, all from the same weights.

Each has two halves that run in different processes: ``prepare`` writes what a deployment would ship
(a program, an ONNX file), ``load`` reads it and returns the function to time. So the memory of the
second process is that of running.
"""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.bench.subject import load_inputs, load_model
from spikedriven.errors import InputError
from spikedriven.neurons import decompositions

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """folder: of the subject, see `subject.py`. threads: how many a contestant may use. batch:
    images per call. device: "cpu" or "cuda". tensors: whether to measure what tensors of PyTorch
    take, see `memory.py`.
    """

    folder: Path
    threads: int
    batch: int
    device: str = "cpu"
    tensors: bool = False

    def example(self) -> Tensor:
        return load_inputs(self.folder)[0][: self.batch]


@dataclass(frozen=True)
class Contestant:
    """what: one line for the reader. package: a package it needs beyond ours. prepare, load:
    see the module. amp: the type that it trains in, by the names of `run.amp`.
    """

    what: str
    load: Callable[[Task], Run]
    prepare: Callable[[Task], None] | None = None
    package: str | None = None
    amp: Literal["none", "bf16"] = "none"

    @property
    def installed(self) -> bool:
        return self.package is None or importlib.util.find_spec(self.package) is not None


def _compile_program(task: Task, weight_bits: int | None = None) -> None:
    program = sd.compile(load_model(task.folder), task.example(), weight_bits=weight_bits)
    program.save(task.folder / f"program-{weight_bits}.sdp")


def _load_program(task: Task, weight_bits: int | None = None) -> Run:
    program = sd.load_program(task.folder / f"program-{weight_bits}.sdp")
    if not program.is_native:
        raise InputError(
            "this installation has no compiled engine, and the time of its readable twin says "
            "nothing"
        )
    program.threads = task.threads
    return program


def _eager(task: Task) -> Run:
    return _without_gradients(load_model(task.folder))


def _fused(task: Task) -> Run:
    return _without_gradients(sd.fuse(load_model(task.folder), check=False))


def _without_gradients(model: nn.Module) -> Run:
    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(x)

    return run


def _torch_compile(task: Task) -> Run:
    """Neurons in plain operators, which inductor merges with their neighbours; freezing folds
    batch norms.
    """
    import torch._inductor.config as inductor

    inductor.freezing = True
    with torch.no_grad():
        exported = sd.trace(load_model(task.folder), task.example()).exported
        compiled = torch.compile(
            exported.run_decompositions(decompositions()).module(), dynamic=False
        )

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return compiled(x)

    return run


def _torch_compile_bf16(task: Task) -> Run:
    run = _torch_compile(task)

    def run_bf16(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run(x).float()

    return run_bf16


def _onnx_file(task: Task) -> Path:
    """Written by the first contestant that needs it; they are prepared one after the other."""
    path = task.folder / "model.onnx"
    if not path.exists():
        sd.export_onnx(
            load_model(task.folder), load_inputs(task.folder)[0][: max(task.batch, 2)], path
        )
    return path


def _write_onnx(task: Task) -> None:
    _onnx_file(task)


def _quantize(task: Task) -> None:
    """Static QDQ, calibrated on all inputs: convolutions and matrix products, weights per
    channel.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Inputs(CalibrationDataReader):
        def __init__(self) -> None:
            images = load_inputs(task.folder)[0]
            self.batches: Iterator[dict[str, Any]] = (
                {"input": image[None].numpy()} for image in images
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    prepared, path = task.folder / "prepared.onnx", task.folder / "int8.onnx"
    quant_pre_process(str(_onnx_file(task)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(path),
        Inputs(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
    )


def _onnxruntime(task: Task, file: str = "model.onnx") -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    options.add_free_dimension_override_by_name("batch", task.batch)
    session = onnxruntime.InferenceSession(
        str(task.folder / file), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def _onnxruntime_int8(task: Task) -> Run:
    return _onnxruntime(task, "int8.onnx")


def _openvino(task: Task) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(task.folder / "model.onnx")
    model.reshape([task.batch, *load_inputs(task.folder)[0].shape[1:]])
    compiled = core.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": task.threads}
    )
    request = compiled.create_infer_request()
    # the request's own buffer is written anew by every call
    return lambda x: torch.from_numpy(request.infer([x.numpy()])[0].copy())


CONTESTANTS: dict[str, Contestant] = {
    "engine": Contestant("this package's event-driven program", _load_program, _compile_program),
    "engine-16": Contestant(
        "the same with weights of 16 bits instead of 8",
        partial(_load_program, weight_bits=16),
        partial(_compile_program, weight_bits=16),
    ),
    "eager": Contestant("PyTorch fp32, as the releases run it", _eager),
    "fused": Contestant("PyTorch fp32 after spikedriven.fuse", _fused),
    "compile": Contestant("torch.compile fp32, weights frozen", _torch_compile),
    "compile-bf16": Contestant("torch.compile under bf16 autocast", _torch_compile_bf16),
    "onnxruntime": Contestant("ONNX Runtime fp32", _onnxruntime, _write_onnx, "onnxruntime"),
    "onnxruntime-int8": Contestant(
        "ONNX Runtime int8 (static QDQ)", _onnxruntime_int8, _quantize, "onnxruntime"
    ),
    "openvino": Contestant(
        "OpenVINO, precision of its own choice", _openvino, _write_onnx, "openvino"
    ),
}
