"""The page: one HTML file that needs no network, no script and no other file."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from spikedriven.errors import InputError
from spikedriven.files import write_whole
from spikedriven.graph.firing import Batches
from spikedriven.report.document import document
from spikedriven.report.findings import Findings, investigate
from spikedriven.report.html import Html, join, tag
from spikedriven.report.sections.accuracy import accuracy, predictions
from spikedriven.report.sections.audit import audit
from spikedriven.report.sections.energy import energy
from spikedriven.report.sections.firing import attention, firing
from spikedriven.report.sections.network import network
from spikedriven.report.sections.origin import origin
from spikedriven.report.sections.overview import overview
from spikedriven.report.sections.training import training
from spikedriven.report.subject import Request, Subject, open_subject, subject_of

#: Identifier in the page, text in the navigation, the function that lays it out.
SECTIONS: tuple[tuple[str, str, Callable[[Findings], Html]], ...] = (
    ("overview", "Overview", overview),
    ("network", "The network", network),
    ("training", "Training", training),
    ("accuracy", "Accuracy", accuracy),
    ("predictions", "Predictions", predictions),
    ("firing", "Firing rates", firing),
    ("attention", "Attention maps", attention),
    ("energy", "Energy", energy),
    ("audit", "Addition-only?", audit),
    ("origin", "How it was made", origin),
)


def write_report(
    target: str | Path | Request | nn.Module,
    out: str | Path = "report.html",
    batches: Batches | None = None,
) -> Path:
    """Measure a run or a network and write the page; returns its path.

    target: a run folder, RUN/best, a checkpoint folder, a registered name, a `Request` with
    options, or a network of your own. batches: what a network of your own is measured on: one batch
    as it takes it, or a loader. Raises SpikedrivenError for a target that cannot be loaded or a
    file that cannot be written.
    """
    found = investigate(_subject(target, batches))
    return write_whole(Path(out), page(found).encode())


def _subject(target: str | Path | Request | nn.Module, batches: Batches | None) -> Subject[Request]:
    own = isinstance(target, nn.Module)
    if own != (batches is not None):
        raise InputError(
            "write_report(model, out, batches) needs what the model is measured on: one batch or a "
            "loader"
            if own
            else "batches go with a network of your own; a run or a name has its data set "
            "(Request(data=...))"
        )
    if isinstance(target, nn.Module) and batches is not None:
        return subject_of(target, batches)
    return open_subject(target if isinstance(target, Request) else Request(str(target)))


def page(found: Findings) -> Html:
    """The whole document."""
    title = f"{found.subject.name}: spikedriven report"
    return document(title, _header(found), _navigation(found), _main(found))


def _header(found: Findings) -> Html:
    what = "Run" if found.subject.run is not None else "Network"
    return tag("header", tag("p", what, class_="muted"), tag("h1", found.subject.name))


def _navigation(found: Findings) -> Html:
    own = (
        {}
        if found.dense is None
        else dict(zip(("accuracy", "predictions"), found.dense.titles, strict=True))
    )
    links = (
        tag("li", tag("a", own.get(identifier, text), href=f"#{identifier}"))
        for identifier, text, _ in SECTIONS
    )
    return tag("nav", tag("ul", join(links)), aria_label="Sections")


def _main(found: Findings) -> Html:
    return tag("main", join(build(found) for _, _, build in SECTIONS), id="content", tabindex=-1)
