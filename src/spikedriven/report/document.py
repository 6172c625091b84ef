"""The frame of every page: one HTML file that needs no network, no script and no other file."""

from importlib.resources import files

from spikedriven import __version__
from spikedriven.report.html import Html, join, tag

#: Nothing may be fetched or run: pictures are inside the page, and so is the style sheet.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, *body: Html) -> Html:
    """The whole file: what every page has, around its own parts (header, navigation, main)."""
    style = files("spikedriven.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    footer = tag("footer", tag("p", f"Written by spikedriven {__version__}."))
    return join(
        [Html("<!DOCTYPE html>"), tag("html", head, tag("body", skip, *body, footer), lang="en")]
    )
