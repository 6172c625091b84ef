"""Accuracy, confusion matrix, recall per class, and predictions with their images."""

import numpy as np

from spikedriven.data.sections import described
from spikedriven.report.findings import Findings, Sample
from spikedriven.report.html import Html, bar, details, heat, join, section, table, tag
from spikedriven.report.images import img, picture
from spikedriven.report.sections.dense import drawn_predictions, quality
from spikedriven.tasks.classification import Accuracy

#: Up to so many classes the whole confusion matrix is shown, above it the most frequent confusions.
LARGEST_MATRIX = 20
CONFUSIONS = 20


def accuracy(found: Findings) -> Html:
    if found.dense is not None:
        return quality(found.dense)
    if found.accuracy is None:
        why = (
            "the weights are random"
            if not found.subject.trained
            else "there are no labelled images to measure it on"
        )
        return section("accuracy", "Accuracy", tag("p", f"Not measured: {why}."))
    return section(
        "accuracy",
        "Accuracy",
        _summary(found, found.accuracy),
        _confusions(found.accuracy, found.classes),
        _per_class(found.accuracy, found.classes),
    )


def _summary(found: Findings, result: Accuracy) -> Html:
    data, split = found.subject.data, found.subject.request.split
    of = "all" if result.count == found.split_size else f"{result.count} evenly spaced of"
    return tag(
        "p",
        f"Top-1 {result.top1:.2f} %, top-5 {result.top5:.2f} %, cross entropy {result.loss:.4f}, "
        f"on {of} "
        f"{found.split_size} images of split {split} of {described(data) if data else ''}.",
    )


def _confusions(result: Accuracy, classes: tuple[str, ...]) -> Html:
    counts = result.confusion.tolist()
    if len(classes) > LARGEST_MATRIX:
        pairs = [
            (n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j
        ]
        rows = [
            (classes[i], classes[j], str(n)) for n, i, j in sorted(pairs, reverse=True)[:CONFUSIONS]
        ]
        return table("Most frequent confusions", ("true class", "taken for", "images"), rows, (2,))
    largest = max(map(max, counts))
    cells = [[heat(n, largest, str(n)) for n in row] for row in counts]
    matrix = [(name, *row) for name, row in zip(classes, cells, strict=True)]
    title = "Confusion matrix: rows are true classes, columns predictions"
    return table(title, ("true \\ predicted", *classes), matrix, class_="matrix confusion")


def _per_class(result: Accuracy, classes: tuple[str, ...]) -> Html:
    recall, shown_for = result.per_class().tolist(), result.confusion.sum(0).tolist()
    images, hits = result.confusion.sum(1).tolist(), result.confusion.diagonal().tolist()
    rows = [
        (
            name, str(images[i]), bar(recall[i], 100, f"{recall[i]:.1f} %") if images[i] else "–",
            f"{100 * hits[i] / shown_for[i]:.1f} %" if shown_for[i] else "–",
        )
        for i, name in enumerate(classes)
    ]  # fmt: skip
    title = "Recall and precision per class"
    shown = table(title, ("class", "images", "recall", "precision"), rows, (1, 2, 3))
    return (
        shown
        if len(classes) <= LARGEST_MATRIX
        else details(f"{title} ({len(classes)} classes)", shown)
    )


def predictions(found: Findings) -> Html:
    if found.dense is not None:
        return drawn_predictions(found.dense)
    if not found.samples:
        why = (
            "the weights are random"
            if not found.subject.trained
            else "there are no labelled images"
        )
        return section("predictions", "Sample predictions", tag("p", f"None: {why}."))
    text = (
        f"Of the {found.images} images that rates were measured on: the first that are wrong and "
        "the first that are "
        "right, in the order of the set. The share is the softmax of the mean logits."
    )
    cards = tag("ul", join(_card(found, sample) for sample in found.samples), class_="cards")
    return section("predictions", "Sample predictions", tag("p", text), cards)


def _card(found: Findings, sample: Sample) -> Html:
    label, predicted = found.classes[sample.label], found.classes[sample.predicted]
    verdict = "right" if sample.right else "wrong"
    return tag(
        "li",
        img(pixels(found, sample), f"an image of class {label}", 96),
        tag("p", tag("strong", verdict, class_=verdict), f": {predicted}, {sample.confidence:.0%}"),
        None if sample.right else tag("p", f"is: {label}", class_="muted"),
    )


def pixels(found: Findings, sample: Sample) -> np.ndarray:
    """uint8 [H, W, 3] of a sample."""
    data = found.subject.data
    return picture(sample.image, *(data.normalization() if data else ()))
