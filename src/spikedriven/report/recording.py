"""A recording of an event camera drawn: all its events at once, their rate, and a short
animation.
"""

import base64
import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from spikedriven.data.events.raw import Source
from spikedriven.data.events.survey import Survey, span
from spikedriven.report.charts import Series, line_chart
from spikedriven.report.document import document
from spikedriven.report.html import Html, join, section, table, tag
from spikedriven.report.images import data_uri, png

#: Red, green and blue of an OFF and an ON event, on white; they differ for every kind of colour
#: vision.
OFF_COLOUR, ON_COLOUR = (213, 94, 0), (0, 90, 170)
#: Longest side of the animation and of the drawn picture, pixels; small sensors are enlarged up to
#: the first.
ANIMATED_SIDE, DRAWN_SIDE = 320, 1280
FRAMES, FRAME_MS = 30, 100
RATE = "thousand events a second"
#: A frame shows so many microseconds of events at least, and events on so large a share of the
#: pixels.
SHOWN_US, SHOWN_SHARE = 40_000, 0.02


def colours(counts: np.ndarray, full: float | None = None) -> np.ndarray:
    """uint8 [H, W, 3] of events [2, H, W], OFF and ON: white where none is, full colour from `full`
    events on.

    full: by default what 99 % of the pixels that have events stay below.
    """
    total = counts.sum(0)
    if full is None:
        full = float(np.quantile(total[total > 0], 0.99)) if total.any() else 1.0
    strength = np.sqrt(np.minimum(counts / max(full, 1.0), 1.0))[..., None]
    lost = np.array([OFF_COLOUR, ON_COLOUR])[:, None, None] - 255.0
    return np.clip(255 + (strength * lost).sum(0), 0, 255).astype(np.uint8)


def shown_us(found: Survey) -> int:
    """Microseconds of events in a frame of the animation: at most one frame's share of the
    recording.
    """
    share = max(found.duration_us // FRAMES, 1)
    enough = SHOWN_SHARE * found.height * found.width / max(found.per_second, 1e-9) * 1e6
    return int(min(share, max(SHOWN_US, enough)))


def frames(source: Source, found: Survey) -> np.ndarray:
    """uint8 [FRAMES, h, w, 3]: the recording in as many steps of equal time, of each the first
    `shown_us`.

    A second pass over the recording. Pixels of a large sensor are put together.
    """
    by = _pixels_a_side(found.height, found.width, ANIMATED_SIDE)
    rows, columns = -(-found.height // by), -(-found.width // by)
    counts = np.zeros((FRAMES, 2, rows, columns), np.int64)
    step, shown = max(found.duration_us // FRAMES, 1), shown_us(found)
    for part in source.parts:
        number, within = np.divmod(
            np.clip(part.t, found.start_us, found.stop_us) - found.start_us, step
        )
        kept = (number < FRAMES) & (within < shown) & ~part.outside(found.height, found.width)
        part = part.where(kept)
        place = (number[kept], part.p.astype(np.int64), part.y // by, part.x // by)
        counts += np.bincount(
            np.ravel_multi_index(place, counts.shape), minlength=counts.size
        ).reshape(counts.shape)
    full = float(np.quantile(counts[counts > 0], 0.95)) if counts.any() else 1.0
    return np.stack([colours(frame, full) for frame in counts])


def _pixels_a_side(height: int, width: int, most: int) -> int:
    """How many pixels are put together along each side, so that a picture has at most `most`."""
    return -(-max(height, width) // most)


def put_together(counts: np.ndarray, most: int = DRAWN_SIDE) -> np.ndarray:
    """Events [2, H, W] of squares of pixels, at most `most` of them along a side."""
    _two, height, width = counts.shape
    by = _pixels_a_side(height, width, most)
    padded = np.pad(counts, ((0, 0), (0, -height % by), (0, -width % by)))
    return padded.reshape(2, -(-height // by), by, -(-width // by), by).sum((2, 4))


def enlarged(image: np.ndarray) -> np.ndarray:
    """A small picture with every pixel as a square, up to about ANIMATED_SIDE along its longer
    side.
    """
    times = max(ANIMATED_SIDE // max(image.shape[:2]), 1)
    return image.repeat(times, axis=0).repeat(times, axis=1)


def animation(pictures: np.ndarray) -> bytes:
    """GIF that repeats for ever, of uint8 [N, H, W, 3]."""
    images = [Image.fromarray(enlarged(picture)) for picture in pictures]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0
    )
    return buffer.getvalue()


def picture_file(found: Survey) -> bytes:
    """PNG: all events, and the rate over time below."""
    ratio = found.height / found.width
    figure = Figure(figsize=(8.0, min(8.0 * ratio, 9.0) + 3.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=(min(8.0 * ratio, 9.0), 2.2))
    extent = (0, found.width, found.height, 0)
    above.imshow(colours(put_together(found.counts)), interpolation="nearest", extent=extent)
    above.set_title(f"{found.path.name}: {found.events:,} events, ON blue, OFF orange", fontsize=10)
    seconds, rate = _rate(found)
    below.step(seconds, rate, where="post", color=np.array(ON_COLOUR) / 255, linewidth=1)
    below.set_xlabel("seconds from the first event")
    below.set_ylabel(RATE)
    below.set_ylim(bottom=0)
    below.set_xlim(0, max(found.duration_us / 1e6, 1e-6))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _rate(found: Survey) -> tuple[np.ndarray, np.ndarray]:
    """(start of each bin in seconds from the first event, thousand events a second); of the last
    bin as long as the recording lasts.
    """
    begin = np.arange(len(found.rate)) * found.bin_us
    width = np.clip(found.duration_us + 1 - begin, 1, found.bin_us)
    return begin / 1e6, found.rate / width * 1e3


def facts(found: Survey) -> dict[str, str]:
    """What is asked first, in words."""
    sensor = f"{found.width} x {found.height}" + (
        "" if found.sensor_told else " at least: the file does not say"
    )
    polarity = f"{found.on / found.events:.1%} ON" if found.events else "none"
    return {
        "format": found.format,
        "sensor (width x height)": sensor,
        "duration": f"{found.duration_us / 1e6:.6g} s",
        "events": f"{found.events:,}",
        "rate": f"{found.per_second:,.0f} events a second",
        "polarity": polarity,
    }


def page(found: Survey, pictures: np.ndarray) -> Html:
    """One HTML file with everything inside. pictures: of `frames`."""
    header = tag(
        "header",
        tag("p", "Recording of an event camera", class_="muted"),
        tag("h1", found.path.name),
    )
    main = tag(
        "main",
        section("overview", "Overview", _figures(found), _problems(found)),
        section("picture", "All events", _legend(), _picture(found)),
        section("rate", "Rate", tag("div", _chart(found), class_="charts")),
        section("animation", "Animation", _animation(found, pictures)),
        section("origin", "What the file says", _notes(found)),
        id="content",
        tabindex=-1,
    )
    return document(f"{found.path.name}: events", header, main)


def _figures(found: Survey) -> Html:
    return tag(
        "dl",
        join(tag("div", tag("dt", k), tag("dd", v)) for k, v in facts(found).items()),
        class_="figures",
    )


def _problems(found: Survey) -> Html:
    if not found.problems:
        return tag("p", "Nothing was found that is wrong with it.")
    kinds = [
        f"{one.kind}{' (refused by readers)' if one.refused else ''}: " for one in found.problems
    ]
    items = (
        tag("li", tag("strong", kind), one.text)
        for kind, one in zip(kinds, found.problems, strict=True)
    )
    return tag("div", tag("p", "What is wrong with it:"), tag("ul", join(items)), class_="warning")


def _legend() -> Html:
    def swatch(colour: tuple[int, int, int], text: str) -> Html:
        mark = tag("span", class_="swatch", style=f"background: rgb{colour}", aria_hidden="true")
        return tag("li", mark, text)

    return tag(
        "ul", swatch(ON_COLOUR, "ON: brighter"), swatch(OFF_COLOUR, "OFF: darker"), class_="colours"
    )


def _picture(found: Survey) -> Html:
    image = enlarged(colours(put_together(found.counts)))
    alt = f"{found.events:,} events on {found.width} x {found.height} pixels"
    shown = tag(
        "img", src=data_uri(image, DRAWN_SIDE), alt=alt, style="max-width: 100%; height: auto"
    )
    return tag(
        "figure",
        shown,
        tag("figcaption", "All events of the recording; the more, the stronger the colour."),
    )


def _chart(found: Survey) -> Html:
    seconds, rate = _rate(found)
    points = list(zip(seconds.tolist(), rate.tolist(), strict=True))
    said = f"The mean is {facts(found)['rate']}."
    return line_chart(
        "rate-chart", "Rate", "seconds from the first event", [Series(RATE, points)], (0.0,), said
    )


def _animation(found: Survey, pictures: np.ndarray) -> Html:
    moving = "data:image/gif;base64," + base64.b64encode(animation(pictures)).decode()
    still = (
        "data:image/png;base64,"
        + base64.b64encode(png(enlarged(pictures[FRAMES // 2]), DRAWN_SIDE)).decode()
    )
    alt = f"The recording in {FRAMES} pictures, one after the other"
    picture = tag(
        "picture",
        tag("source", media="(prefers-reduced-motion: reduce)", srcset=still),
        tag("img", src=moving, alt=alt, style="max-width: 100%; height: auto"),
    )
    step = max(found.duration_us // FRAMES, 1)
    said = (
        f"{FRAMES} pictures, one every {span(step)}; each shows the events of "
        f"{span(shown_us(found))}."
    )
    return tag("figure", picture, tag("figcaption", said))


def _notes(found: Survey) -> Html:
    rows = [("file", str(found.path)), ("first event", f"{found.start_us:,} microseconds")]
    rows += [("last event", f"{found.stop_us:,} microseconds"), *found.notes.items()]
    return table("As the file says it.", ("name", "value"), rows)
