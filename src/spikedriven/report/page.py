"""The page: one HTML file that needs no network, no script and no other file."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from spikedriven import __version__
from spikedriven.report.files import write_whole
from spikedriven.report.findings import Findings, investigate
from spikedriven.report.html import Html, join, tag
from spikedriven.report.sections.accuracy import accuracy, predictions
from spikedriven.report.sections.audit import audit
from spikedriven.report.sections.energy import energy
from spikedriven.report.sections.firing import attention, firing
from spikedriven.report.sections.origin import origin
from spikedriven.report.sections.overview import overview
from spikedriven.report.sections.training import training
from spikedriven.report.subject import Request, open_subject

#: Identifier in the page, text in the navigation, the function that lays it out.
SECTIONS: tuple[tuple[str, str, Callable[[Findings], Html]], ...] = (
    ("overview", "Overview", overview),
    ("training", "Training", training),
    ("accuracy", "Accuracy", accuracy),
    ("predictions", "Predictions", predictions),
    ("firing", "Firing rates", firing),
    ("attention", "Attention maps", attention),
    ("energy", "Energy", energy),
    ("audit", "Addition-only?", audit),
    ("origin", "How it was made", origin),
)

#: Nothing may be fetched or run: pictures are inside the page, and so is the style sheet.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(target: str | Path | Request, out: str | Path = "report.html") -> Path:
    """Measure a run or a registered network and write the page; returns its path.

    target: a run folder, RUN/best, a checkpoint folder, a registered name, or a `Request` with options.
    Raises SpikedrivenError for a target that cannot be loaded or a file that cannot be written.
    """
    request = target if isinstance(target, Request) else Request(str(target))
    found = investigate(open_subject(request))
    return write_whole(Path(out), page(found).encode())


def page(found: Findings) -> Html:
    """The whole document."""
    title = f"{found.subject.name}: spikedriven report"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag(
            "style",
            Html(files("spikedriven.report").joinpath("style.css").read_text(encoding="utf-8")),
        ),
    )
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    footer = tag("footer", tag("p", f"Written by spikedriven {__version__}."))
    body = tag("body", skip, _header(found), _navigation(found), _main(found), footer)
    return join([Html("<!DOCTYPE html>"), tag("html", head, body, lang="en")])


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
