"""Everything a page shows, measured once; the sections only lay it out."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from spikedriven.graph.audit import AuditReport, audit
from spikedriven.graph.conventions import CONVENTIONS
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.expand import expand
from spikedriven.graph.layer_firing import LayerFiring, LayerFirings
from spikedriven.graph.measurement import Measurement, measure
from spikedriven.graph.trace import trace
from spikedriven.neurons.watch import neuron_outputs
from spikedriven.report.attention import ATTENTION, FiringMap, firing_maps
from spikedriven.report.dense import Dense, is_dense, measure_dense
from spikedriven.report.history import History, read_history
from spikedriven.report.subject import Request, Subject, batches, logits, open_loader
from spikedriven.tasks.classification import Accuracy, measure_accuracy
from spikedriven.training.amp import autocast
from spikedriven.training.distributed import World

CPU = World(0, 1, torch.device("cpu"))


@dataclass(frozen=True)
class Sample:
    """An image as the network sees it, [C, H, W], its class, and what the network said with which softmax share."""

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

    dense: quality of a network that is no classifier, else None. accuracy: None without labelled images or trained
    weights. classes: names, empty without data; split_size: images in the split. samples: predictions to show. maps:
    samples with their attention maps. firing: of every layer of neurons, by name. energies: convention ->
    report at its own prices, all over one measurement. released, folded: audits of the network as it is, and with all
    chains folded and integer neurons made binary. images: how many rates and energies rest on.
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
    folded: AuditReport

    @property
    def images(self) -> int:
        return self.measurement.images

    @property
    def measurement(self) -> Measurement:
        """The table of layers that all energies cost."""
        return self.energies["sdt"].measurement


def investigate(subject: Subject[Request]) -> Findings:
    """Measure everything: seconds for small networks, minutes for the largest; progress on stderr."""
    model = subject.model
    accuracy, classes, size = _accuracy(subject)
    firing, samples = _firing_and_samples(subject)
    graph = trace(model, next(iter(batches(subject)))[0])
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
        folded=_folded_audit(model),
    )


def _folded_audit(model: Any) -> AuditReport:
    """Of the network that `expand` makes, which also checks that it computes the same."""
    return audit(expand(model), model.example_input())


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
            output = logits(subject.model, batch)
            if labels is not None and not is_dense(subject.model):
                shares = output.float().softmax(1)
                best = shares.max(1)
                rows = zip(
                    batch, labels.tolist(), best.indices.tolist(), best.values.tolist(), strict=True
                )
                samples += [Sample(*row) for row in rows]
    return firing.result(), samples


def some_of_each(samples: Sequence[Sample], most: int) -> list[Sample]:
    """The first wrong ones and the first right ones, half each where there are so many, in their order."""
    wrong = [i for i, sample in enumerate(samples) if not sample.right]
    right = [i for i, sample in enumerate(samples) if sample.right]
    half = min(len(wrong), max(most // 2, most - len(right)))
    return [samples[i] for i in sorted(wrong[:half] + right[: most - half])]


def _maps(
    subject: Subject[Request], samples: Sequence[Sample]
) -> tuple[tuple[Sample, list[FiringMap]], ...]:
    if is_dense(subject.model) or not any(
        isinstance(module, ATTENTION) for module in subject.model.modules()
    ):
        return ()
    return tuple((sample, firing_maps(subject.model, sample.image[None])) for sample in samples)


def _progress(items: Iterable[Any], what: str) -> Iterable[Any]:
    return track(items, what, console=Console(stderr=True), transient=True)
