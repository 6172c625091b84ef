"""NIR (neuromorphic intermediate representation): the part of a network that it can express, after
fusing.

Convolutions, linear layers, LIF neurons, means over space and residual sums go into the file. Max
pools and attention products have no NIR primitive: they stay outside, and the file gets an extra
input for each value they make and an extra output for each value they read. What stayed outside is
listed.

Files are written for nir 1.0.6 and later (1.0.4 and 1.0.5 know no reset of a LIF to a value). The
graph's metadata says ``dt``, 1.0: other readers ask for the length of a step.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.export.onnx import need
from spikedriven.files import write_atomic
from spikedriven.graph import Node, SpikeGraph, run, trace
from spikedriven.graph.fuse import fuse
from spikedriven.graph.inputs import Inputs, first_of
from spikedriven.models.names import class_names

if TYPE_CHECKING:  # they need the optional package nir
    from spikedriven.export.nir_drawing import Drawing, LeftOut


@dataclass(frozen=True)
class NIRReport:
    """What was written, and how the file, read back and run, compares with torch on the first
    example.

    inputs, outputs: NIR name -> id of the graph node whose value it takes or gives ("input": the
    network's own input). same_spikes: share of equal spikes; largest_difference: over all outputs.
    """

    path: Path
    nodes: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    left_out: tuple["LeftOut", ...]
    same_spikes: float
    largest_difference: float
    type_check: str = ""
    """Why nir's own check of shapes refuses the file, so that `nir.read` needs
    ``type_check=False``: up to nir 1.0.8 it misreads grouped convolutions. Nothing where it does
    not.
    """

    @property
    def ok(self) -> bool:
        return self.same_spikes == 1.0

    def __str__(self) -> str:
        head = (
            f"{self.path}: {self.nodes} NIR nodes, {len(self.inputs)} inputs, {len(self.outputs)} "
            "outputs; read back "
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
        if self.type_check:
            lines.append(f"  read it with nir.read(path, type_check=False): {self.type_check}")
        return "\n".join([head, *lines])


def export_nir(model: nn.Module, example: Inputs, path: str | Path) -> NIRReport:
    """Fuse a model, write what NIR can express, read it back and run it on the first image of
    ``example``.

    Raises InputError without the extra ``spikedriven[export]`` and for an operator without a graph
    rule.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar", time_steps=2, embed_dim=32, depth=1).eval()
        >>> images = torch.rand(4, 3, 32, 32)
        >>> report = sd.export_nir(model, images, "net.nir")
        >>> print(report)
        net.nir: ... NIR nodes, ...
    """
    nir = need("nir")
    from spikedriven.export.nir_drawing import Drawing

    path = Path(path)
    graph = trace(fuse(model, example, check=False), example)
    _check_writable(graph)
    drawing = Drawing(graph, class_names(model))
    data = io.BytesIO()
    nir.write(data, drawing.file())
    write_atomic(path, data.getvalue())
    same, difference = _compare(graph, drawing, nir.read(path, type_check=False), first_of(example))
    return NIRReport(
        path,
        len(drawing.nodes),
        drawing.inputs,
        drawing.outputs,
        tuple(drawing.left_out),
        same,
        difference,
        _refused(nir, path),
    )


def _refused(nir: ModuleType, path: Path) -> str:
    try:
        nir.read(path)
    except ValueError as error:
        return str(error)
    return ""


def _check_writable(graph: SpikeGraph) -> None:
    """Raises InputError where the graph does not say which axis is the batch, or where there is
    no neuron.
    """
    if not graph.dynamic_batch:
        raise InputError(
            "the forward of this network turns the batch size into a constant, so that NIR's "
            "shapes of one "
            "image are not known: write x.shape[0], not len(x), and no number in its place"
        )
    if not graph.find("neuron"):
        raise InputError("this network has no spiking neuron: NIR describes spiking networks")


def _compare(
    graph: SpikeGraph, drawing: "Drawing", file: Any, image: Inputs
) -> tuple[float, float]:
    """Share of equal spikes and largest difference between the file's outputs and the same
    values in torch.
    """
    from spikedriven.export.nir_nodes import steps_of
    from spikedriven.export.nir_run import run_nir

    values = _values(graph, image, {*drawing.inputs.values(), *drawing.outputs.values()})
    steps = max(map(steps_of, graph.find("neuron")))
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
    """A file's outputs of all steps, flat; their mean where the model averages over time before
    its last layer.
    """
    return (output if output.numel() == value.numel() else output.mean(0)).reshape(-1)


def _values(graph: SpikeGraph, image: Inputs, wanted: set[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def visit(node: str, value: Tensor) -> None:
        if node in wanted:
            seen[node] = value.detach().cpu()

    run(graph, image, visit)
    return seen


def _per_step(node: Node, value: Tensor, steps: int) -> Tensor:
    """[T, ...]; what has no time axis, as the static image of a network, is shown at every step."""
    from spikedriven.export.nir_nodes import step_shape, steps_of

    shape = step_shape(node)
    if steps_of(node) == 1:
        return value.reshape(1, *shape).expand(steps, *shape)
    return value.reshape(steps, *shape)
