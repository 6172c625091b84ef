"""Figures per class, and predictions drawn on images, of segmenters (and whatever else is no
classifier).
"""

from spikedriven.report.dense import Dense, Drawn
from spikedriven.report.html import Html, bar, join, section, table, tag
from spikedriven.report.images import img

#: CSS pixels of a drawn picture, and most pixels along a side of the file.
SIDE, LARGEST = 200, 256


def quality(dense: Dense) -> Html:
    rows = [[_cell(value, i in dense.bars) for i, value in enumerate(row)] for row in dense.rows]
    shown = table(dense.caption, dense.header, rows, range(1, len(dense.header)))
    return section("accuracy", dense.titles[0], tag("p", dense.text), shown)


def _cell(value: str, as_bar: bool) -> object:
    try:
        return bar(float(value), 100, f"{value} %") if as_bar else value
    except ValueError:  # a dash: nothing to measure
        return value


def drawn_predictions(dense: Dense) -> Html:
    title = dense.titles[1]
    if not dense.images:
        return section("predictions", title, tag("p", "None: no samples were asked for."))
    text = f"Evenly spaced images of the split. {dense.legend}"
    return section(
        "predictions", title, tag("p", text), join(_one(image) for image in dense.images)
    )


def _one(image: Drawn) -> Html:
    pictures = [
        tag("figure", img(pixels, f"{image.name}: {name}", SIDE, LARGEST), tag("figcaption", name))
        for name, pixels in image.panels
    ]
    names = [
        tag(
            "li",
            tag("span", "", class_="swatch", style=f"background: rgb{colour}", aria_hidden="true"),
            name,
        )
        for name, colour in image.legend
    ]
    legend = tag("ul", join(names), class_="colours") if names else None
    return tag(
        "div",
        tag("p", image.name, class_="muted"),
        tag("div", join(pictures), class_="row"),
        legend,
    )
