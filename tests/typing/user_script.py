"""What a user writes, with types: `mypy --strict` must accept it as it stands. It is checked, never
run.

Every name of `spikedriven.__all__`, and what README and docs import from its packages, is used here
in the way they show. An `assert_type` says what the caller gets to know.
"""

from pathlib import Path
from typing import Any, assert_type

import torch
from torch import Tensor, nn

import spikedriven as sd
from spikedriven.data import (
    DataConfig,
    build_eval_loader,
    build_train_loader,
    config_for,
    create_dataset,
    data_folder,
)
from spikedriven.data.detection import DetectionDataConfig
from spikedriven.data.events import Events, read_events, save_events, stream_events
from spikedriven.engine import Program
from spikedriven.errors import CheckpointError, DataError, InputError, RecipeError, SpikedrivenError
from spikedriven.export import NIRReport, ONNXReport
from spikedriven.graph import Node, SpikeGraph, register_rule
from spikedriven.graph.audit import AuditReport
from spikedriven.graph.energy import EnergyReport
from spikedriven.models import (
    LoadReport,
    SpikeDrivenModel,
    create_detector,
    create_segmenter,
    official_state_dict,
    variant_of,
)
from spikedriven.models.detection import Detector, predict
from spikedriven.models.segmentation import Segmenter
from spikedriven.neurons import (
    LIF,
    IntegerNeuron,
    LIFOptions,
    ParametricLIF,
    StreamState,
    neuron_factory,
)
from spikedriven.neurons.lif import lif_op
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.recipes.types import Recipe
from spikedriven.report import FiringMap, Request, firing_maps, write_report


def networks(x: Tensor) -> SpikeDrivenModel:
    names: list[str] = sd.list_models("sdt*")
    model = sd.create_model(names[0], in_chans=1, num_classes=10, img_size=28).eval()
    report = sd.load_official(model, Path("checkpoint.pth.tar"), strict=False)
    assert_type(report, LoadReport)
    backbone = sd.create_model("sdt_8_512", features_only=True, out_indices=(0, 1))
    assert_type(backbone, nn.Module)
    print(report.missing, variant_of(names[0]).published, official_state_dict(model).keys())
    logits: Tensor = model(x)
    state: StreamState | None = None
    for _ in range(model.time_steps):
        logits, state = model.step(x, state)
    model.reset_classifier(5)
    print(logits.shape, model.example_input(2).shape, model.num_features)
    shipped = sd.create_model("e_spikeformer_fashion", pretrained=True)
    assert_type(shipped, SpikeDrivenModel)
    return model


def readers(model: nn.Module, x: Tensor) -> None:
    rates: dict[str, float] = sd.firing_rates(model, x)
    sd.calibrate(model, x)
    small: nn.Module = sd.quantize(model, x, weight_bits={"head": 8, "*": 4}, ranges="mse")
    print(small(x).shape)
    audit, energy = sd.audit(model, x), sd.energy(model, [x], convention="sdt", technology="int8")
    assert_type(audit, AuditReport)
    assert_type(energy, EnergyReport)
    print(
        rates, audit.ok, [row.module for row in audit.findings], energy.total_mj, energy.to_dict()
    )
    fused, spiking = sd.fuse(model), sd.expand(model, x, check=False)
    assert_type(fused, nn.Module)
    graph = sd.trace(spiking, x)
    assert_type(graph, SpikeGraph)
    nodes: list[Node] = list(graph.nodes)
    print(nodes, register_rule)


def files(model: nn.Module, x: Tensor) -> Tensor:
    program = sd.compile(model, x, native=None)
    program.save("sdt.sdp")
    again: Program = sd.load_program(Path("sdt.sdp"), native=False)
    onnx: ONNXReport = sd.export_onnx(model, x, "model.onnx")
    nir: NIRReport = sd.export_nir(model, x, Path("model.nir"))
    print(onnx.ok, nir.ok, again.is_native)
    output: Tensor = program(x)
    return output


def published(model: SpikeDrivenModel) -> nn.Module:
    folder: Path = sd.save_pretrained(model, "published", images=None, license="apache-2.0")
    address: str = sd.push_to_hub("runs/quickstart", "OWNER/NAME", private=True)
    print(address)
    return sd.from_pretrained(folder, num_classes=5)


def images() -> None:
    image, label = create_dataset("fashion-mini", "test")[0]
    print(image.size, label + 1, data_folder())
    cfg = DataConfig(dataset="cifar10", in_chans=3, mixup=0.5)
    for inputs, targets in build_train_loader(cfg, batch_size=64, seed=42).epoch(0):
        print(inputs.shape, targets.shape)
    for batch in build_eval_loader(cfg, "test", batch_size=64):
        print(len(batch))
    scenes = create_dataset(DetectionDataConfig(), "test")
    print(len(scenes))


def recordings(path: Path) -> Events:
    events = read_events(path)
    part: Events = events.between(0, 50_000)
    save_events("part.npz", part)
    for chunk in stream_events(path, chunk=65536):
        print(len(chunk), chunk.t.dtype)
    cfg = config_for("cifar10-dvs", time_steps=10, img_size=64)
    frames, label = create_dataset(cfg, "test")[0]
    print(frames.shape, label)
    return part


def dense(image: Tensor) -> None:
    detector = create_detector("mask_rcnn", backbone="e_spikeformer_10m", num_classes=80)
    assert_type(detector, Detector)
    found: dict[str, Tensor] = predict(detector, image)
    segmenter = create_segmenter(backbone="e_spikeformer_10m", num_classes=150)
    assert_type(segmenter, Segmenter)
    print(found["boxes"], segmenter(image.unsqueeze(0)))


class Layer(nn.Module):
    """A layer of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = LIF(tau=2.0, v_threshold=0.5)
        self.counts = IntegerNeuron()
        self.make = neuron_factory("plif", tau=2.0)
        self.learned: nn.Module = self.make(v_threshold=1.0)
        self.options = LIFOptions(tau=2.0)
        self.other = ParametricLIF()

    def forward(self, x: Tensor) -> Tensor:
        with lif_op.set_kernel_enabled("cuda", enabled=False):
            spikes: Tensor = self.neuron(x)
        return spikes


def reports(model: nn.Module, sample: Tensor) -> None:
    recipe: Recipe[Any] = load_recipe(list_recipes()[0])
    maps: list[FiringMap] = firing_maps(model, sample)
    page: Path = write_report(Request("runs/quickstart"), "report.html")
    print(recipe.task, maps[0].label, page)


def main() -> None:
    x = torch.randn(2, 1, 28, 28)
    try:
        model = networks(x)
        readers(model, x)
        files(model, x)
    except (CheckpointError, DataError, InputError, RecipeError) as error:
        known: SpikedrivenError = error
        print(known)


if __name__ == "__main__":
    main()
