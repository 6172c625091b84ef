"""Everything a page shows, measured once; the sections only lay it out."""

import dataclasses
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.graph.audit import AuditReport, audit
from spikedriven.graph.called import in_calls, see_neurons
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.expand import expand
from spikedriven.graph.inputs import Inputs, as_inputs, first_of
from spikedriven.graph.layer_firing import LayerFiring, LayerFirings
from spikedriven.graph.measurement import Measurement, measure
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.trace import as_graphed, trace
from spikedriven.neurons.watch import neuron_outputs
from spikedriven.report.attention import FiringMap, attention_blocks, firing_maps
from spikedriven.report.dense import Dense, is_dense, measure_dense
from spikedriven.report.history import History, read_history
from spikedriven.report.subject import Request, Subject, batches, logits, open_loader
from spikedriven.runs.distributed import World
from spikedriven.tasks.classification import Accuracy, measure_accuracy
from spikedriven.training.amp import autocast

CPU = World(0, 1, torch.device("cpu"))


@dataclass(frozen=True)
class Sample:
    """An image as the network sees it, [C, H, W], its class, and what the network said with
    which softmax share.
    """

    image: Tensor
    label: int
    predicted: int
    confidence: float

    @property
    def right(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True)
class Findings:
    """What was measured on a subject.

    dense: quality of a network that is no classifier, else None. accuracy: None without labelled
    images or trained weights. classes: names, empty without data; split_size: images in the split.
    samples: predictions to show. maps: samples with their attention maps. firing: of every layer of
    neurons, by name. energies: convention -> report at its own prices, all over one measurement.
    released, folded: audits of the network as it is, and with all chains folded and integer neurons
    made binary; folded is the reason as text where that cannot be done. inputs: shapes of what the
    network reads for one image. graph: of the network as it is. example: one of the images, as the
    network reads it. latency: its seconds in PyTorch on this machine, with the threads that it has.
    images: how many rates and energies rest on.
    """

    subject: Subject[Request]
    history: History | None
    dense: Dense | None
    accuracy: Accuracy | None
    classes: tuple[str, ...]
    split_size: int
    samples: tuple[Sample, ...]
    maps: tuple[tuple[Sample, list[FiringMap]], ...]
    firing: dict[str, LayerFiring]
    energies: dict[str, EnergyReport]
    released: AuditReport
    folded: AuditReport | str
    inputs: tuple[tuple[int, ...], ...]
    graph: SpikeGraph
    latency: float
    example: Inputs

    @property
    def images(self) -> int:
        return self.measurement.images

    @property
    def measurement(self) -> Measurement:
        """The table of layers that all energies cost."""
        return self.energies["sdt"].measurement


def investigate(subject: Subject[Request]) -> Findings:
    """Measure everything: seconds for small networks, minutes for the largest; progress on
    stderr.
    """
    model = subject.model
    accuracy, classes, size = _accuracy(subject)
    first = next(iter(batches(subject)))[0]
    graph = trace(model, first)
    firing, samples = _firing_and_samples(subject)
    if subject.given is not None and in_calls(graph, model):
        firing = _firing_in_calls(subject, graph)
    stream = _progress((batch for batch, _ in batches(subject)), "energy")
    measurement = measure(model, stream, form=subject.request.form)
    measurement = dataclasses.replace(measurement, doubts=(*subject.doubts, *measurement.doubts))
    return Findings(
        subject=subject,
        history=None if subject.run is None else read_history(subject.run),
        dense=measure_dense(subject, _progress),
        accuracy=accuracy,
        classes=classes,
        split_size=size,
        samples=tuple(some_of_each(samples, subject.request.samples)) if subject.trained else (),
        maps=_maps(subject, samples[: subject.request.maps]),
        firing=firing,
        energies={name: cost(measurement, name) for name in CONVENTIONS},
        released=audit(graph),
        folded=_folded_audit(subject, first),
        inputs=tuple(tuple(x.shape[1:]) for x in as_inputs(first)),
        graph=graph,
        latency=_latency(subject, first_of(first)),
        example=first_of(first),
    )


def _folded_audit(subject: Subject[Request], batch: Inputs) -> AuditReport | str:
    """Of the network that `expand` makes, which also checks that it computes the same.

    The reason as text for a network of the caller's own that has a part which cannot be expanded.
    """
    if subject.given is None:
        return audit(expand(subject.model), subject.model.example_input())
    try:
        return audit(expand(subject.model, first_of(batch, 2)), batch)
    except InputError as error:
        return str(error)


def _accuracy(subject: Subject[Request]) -> tuple[Accuracy | None, tuple[str, ...], int]:
    """Accuracy of trained weights, class names, and the number of images in the split."""
    if subject.data is None:
        return None, (), 0
    loader = open_loader(subject, subject.request.accuracy_images)
    classes, size = tuple(loader.dataset.classes), len(loader.dataset)
    if not subject.trained or is_dense(subject.model):
        return None, classes, size
    amp = "none" if subject.recipe is None else subject.recipe.run.amp
    with torch.inference_mode(), autocast(amp, CPU.device):
        return (
            measure_accuracy(subject.model, _progress(loader, "accuracy"), len(classes), CPU),
            classes,
            size,
        )


def _firing_and_samples(subject: Subject[Request]) -> tuple[dict[str, LayerFiring], list[Sample]]:
    """How every layer of neurons fires, and what was said of each image."""
    samples: list[Sample] = []
    firing = LayerFirings()
    with neuron_outputs(subject.model, firing.see):
        for batch, labels in _progress(batches(subject), "firing rates"):
            if labels is None:
                _look(subject.model, batch)
                continue
            output = logits(subject.model, batch)
            if not is_dense(subject.model):
                shares = output.float().softmax(1)
                best = shares.max(1)
                rows = zip(
                    batch, labels.tolist(), best.indices.tolist(), best.values.tolist(), strict=True
                )
                samples += [Sample(*row) for row in rows]
    return firing.result(), samples


def _firing_in_calls(subject: Subject[Request], graph: SpikeGraph) -> dict[str, LayerFiring]:
    """Of a network that calls its neurons as functions, or once for each step."""
    firing = LayerFirings()
    for batch, _ in _progress(batches(subject), "firing rates"):
        see_neurons(graph, batch, firing.see)
    return firing.result()


def _look(model: nn.Module, batch: Inputs) -> None:
    """Run a network for what its neurons put out; its own output may have any form."""
    with torch.no_grad(), as_graphed(model):
        model(*as_inputs(batch))


def some_of_each(samples: Sequence[Sample], most: int) -> list[Sample]:
    """The first wrong ones and the first right ones, half each where there are so many, in
    their order.
    """
    wrong = [i for i, sample in enumerate(samples) if not sample.right]
    right = [i for i, sample in enumerate(samples) if sample.right]
    half = min(len(wrong), max(most // 2, most - len(right)))
    return [samples[i] for i in sorted(wrong[:half] + right[: most - half])]


def _latency(subject: Subject[Request], image: Inputs) -> float:
    """Median of a few runs, as many as fit into a second; the first one only warms up."""
    seconds: list[float] = []
    _look(subject.model, image)
    while len(seconds) < 3 or (len(seconds) < 15 and sum(seconds) < 1):
        began = time.perf_counter()
        _look(subject.model, image)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _maps(
    subject: Subject[Request], samples: Sequence[Sample]
) -> tuple[tuple[Sample, list[FiringMap]], ...]:
    if is_dense(subject.model) or not attention_blocks(subject.model):
        return ()
    return tuple((sample, firing_maps(subject.model, sample.image[None])) for sample in samples)


def _progress(items: Iterable[Any], what: str) -> Iterable[Any]:
    return track(items, what, console=Console(stderr=True), transient=True)
