"""NIR (neuromorphic intermediate representation): the part of a network that it can express, after fusing.

Convolutions, linear layers, LIF neurons, means over space and residual sums go into the file. Max pools and attention
products have no NIR primitive: they stay outside, and the file gets an extra input for each value they make and an
extra output for each value they read. What stayed outside is listed.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikedriven.export.onnx import need
from spikedriven.graph import Node, SpikeGraph, run, trace
from spikedriven.graph.fuse import fuse
from spikedriven.training.files import write_atomic

if TYPE_CHECKING:  # they need the optional package nir
    from spikedriven.export.nir_drawing import Drawing, LeftOut


@dataclass(frozen=True)
class NIRReport:
    """What was written, and how the file, read back and run, compares with torch on the first example.

    inputs, outputs: NIR name -> id of the graph node whose value it takes or gives ("input": the network's own input).
    same_spikes: share of equal spikes; largest_difference: over all outputs.
    """

    path: Path
    nodes: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    left_out: tuple["LeftOut", ...]
    same_spikes: float
    largest_difference: float

    @property
    def ok(self) -> bool:
        return self.same_spikes == 1.0

    def __str__(self) -> str:
        head = (
            f"{self.path}: {self.nodes} NIR nodes, {len(self.inputs)} inputs, {len(self.outputs)} outputs; read back "
            f"and run against torch: {self.same_spikes:.3%} of spikes equal, largest difference "
            f"{self.largest_difference:.2g}; {len(self.left_out)} operators left out"
        )
        groups: dict[tuple[str, str], list[str]] = {}
        for item in self.left_out:
            groups.setdefault((item.op, item.why), []).append(item.module or item.node)
        lines = [
            f"  {len(places)} {op}: {why} (first in {places[0]})"
            for (op, why), places in groups.items()
        ]
        return "\n".join([head, *lines])


def export_nir(model: nn.Module, example: Tensor, path: str | Path) -> NIRReport:
    """Fuse a model, write what NIR can express, read it back and run it on the first image of ``example``.

    Raises InputError without the extra ``spikedriven[export]`` and for an operator without a graph rule.
    """
    nir = need("nir")
    from spikedriven.export.nir_drawing import Drawing

    path = Path(path)
    graph = trace(fuse(model, example, check=False), example)
    drawing = Drawing(graph)
    data = io.BytesIO()
    nir.write(data, drawing.file())
    write_atomic(path, data.getvalue())
    same, difference = _compare(graph, drawing, nir.read(path, type_check=False), example[:1])
    return NIRReport(
        path,
        len(drawing.nodes),
        drawing.inputs,
        drawing.outputs,
        tuple(drawing.left_out),
        same,
        difference,
    )


def _compare(
    graph: SpikeGraph, drawing: "Drawing", file: Any, image: Tensor
) -> tuple[float, float]:
    """Share of equal spikes and largest difference between the file's outputs and the same values in torch."""
    from spikedriven.export.nir_run import run_nir

    values = _values(graph, image, {*drawing.inputs.values(), *drawing.outputs.values()})
    steps = max(node.shape[0] for node in graph.find("neuron"))
    inputs = {name: _per_step(graph[i], values[i], steps) for name, i in drawing.inputs.items()}
    gaps = {
        node_id: (_like(output, values[node_id]) - values[node_id].reshape(-1)).abs()
        for node_id, output in (
            (drawing.outputs[name], output) for name, output in run_nir(file, inputs).items()
        )
    }
    spikes = [gap == 0 for node_id, gap in gaps.items() if graph[node_id].op == "neuron"]
    same = torch.cat(spikes).double().mean().item() if spikes else 1.0
    return same, max((gap.max().item() for gap in gaps.values()), default=0.0)


def _like(output: Tensor, value: Tensor) -> Tensor:
    """A file's outputs of all steps, flat; their mean where the model averages over time before its last layer."""
    return (output if output.numel() == value.numel() else output.mean(0)).reshape(-1)


def _values(graph: SpikeGraph, image: Tensor, wanted: set[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def visit(node: str, value: Tensor) -> None:
        if node in wanted:
            seen[node] = value.detach().cpu()

    run(graph, image, visit)
    return seen


def _per_step(node: Node, value: Tensor, steps: int) -> Tensor:
    """[T, ...]; the static input of an image network is shown at every step."""
    if node.op == "input" and value.ndim == 4:
        return value.expand(steps, *value.shape[1:])
    return value.reshape(steps, *node.shape[1 if len(node.shape) == 4 else 2 :])
