"""HTML as Python calls. Whatever is not already `Html` is escaped, so no name or message can
become markup.
"""

from collections.abc import Iterable, Sequence
from html import escape

VOID = {"meta", "link", "img", "wbr", "source"}
#: Cells with more characters get room, so that they do not become columns of single words.
LONG = 30


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as markup: itself if it is `Html`, nothing for None, escaped otherwise."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value)))


def join(parts: Iterable[object], separator: str = "\n") -> Html:
    return Html(separator.join(text(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """``tag("p", "a < b", class_="note")``. Attribute names: ``_`` stands for ``-``, a trailing one
    is dropped; None and False leave the attribute out, True gives its bare name.
    """
    shown = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    if name in VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(children, '')}</{name}>")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'


def section(identifier: str, title: str, *children: object) -> Html:
    """A landmark with its heading; the page's navigation links to `identifier`."""
    heading = tag("h2", title, id=f"{identifier}-title")
    return tag(
        "section", heading, join(children), id=identifier, aria_labelledby=f"{identifier}-title"
    )


def details(summary: str, *children: object, open_: bool = False) -> Html:
    return tag("details", tag("summary", summary), join(children), open=open_)


def scroller(label: str, content: Html) -> Html:
    """A container that scrolls sideways by itself, by keyboard too."""
    return tag("div", content, class_="scroll", role="group", aria_label=label, tabindex=0)


def table(
    caption: str,
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    numbers: Sequence[int] = (),
    class_: str | None = None,
) -> Html:
    """A captioned table in its own scroller; the first cell of a row is its header. numbers:
    columns of figures.
    """
    head = tag(
        "thead", tag("tr", *(_cell(value, i in numbers, "col") for i, value in enumerate(header)))
    )
    body = tag("tbody", join(_row(row, numbers) for row in rows))
    return scroller(
        caption, tag("table", tag("caption", tag("span", caption)), head, body, class_=class_)
    )


def _row(row: Sequence[object], numbers: Sequence[int]) -> Html:
    return tag(
        "tr",
        *(_cell(value, i in numbers, "row" if i == 0 else None) for i, value in enumerate(row)),
    )


def _cell(value: object, number: bool, scope: str | None) -> Html:
    if isinstance(value, Cell):
        return value.markup
    if scope:
        return tag("th", breakable(value), scope=scope, class_="number" if number else None)
    return tag(
        "td", value, class_="number" if number else "long" if len(str(value)) > LONG else None
    )


def breakable(value: object) -> Html:
    """A qualified name that may break after its dots and underscores."""
    return (
        value
        if isinstance(value, Html)
        else Html(text(value).replace(".", ".<wbr>").replace("_", "_<wbr>"))
    )


class Cell:
    """A finished ``<td>``, for cells with a background."""

    def __init__(self, markup: Html) -> None:
        self.markup = markup


def heat(value: float, largest: float, shown: str) -> Cell:
    """A figure on a background as strong as its share of `largest`; at most half, so that text
    stays readable.
    """
    share = max(0.0, min(1.0, value / largest)) if largest > 0 and value == value else 0.0
    return Cell(tag("td", shown, class_="heat number", style=f"--share:{50 * share:.1f}%"))


def bar(value: float, largest: float, shown: str) -> Cell:
    """A figure, then a bar as long as its share of `largest`."""
    share = max(0.0, min(1.0, value / largest)) if largest > 0 else 0.0
    stroke = tag("span", class_="bar", style=f"--share:{100 * share:.2f}%", aria_hidden="true")
    return Cell(tag("td", tag("span", tag("span", shown), stroke, class_="bars"), class_="number"))
