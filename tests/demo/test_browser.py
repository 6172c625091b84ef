"""The page in headless Chromium: drawing and picking change the prediction, steps can be walked
through, nothing is fetched from elsewhere, all of it works by keyboard, and the layout holds from
360 to 1920 pixels in both schemes.
"""

import time

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys

from spikedriven.demo.network import samples
from tests.browser import (
    CONTRAST,
    OVER_THE_EDGE,
    open_browser,  # noqa: F401
    requests_made,
    screenshot_folder,  # noqa: F401
    shoot,
    visit,
)

WIDTHS = (360, 768, 1280, 1920)
NAMES = pytest.mark.parametrize("name", ["lif", "integer"])
DRAWN = """
const context = document.getElementById('pad').getContext('2d')
return context.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 == 0)
"""


def until(browser, script):
    """The value of a script once it is true; the page has ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = browser.execute_script(f"return {script}")
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"still not true: {script}")


def settled(browser):
    """Wait until the answer to the latest change is shown; its text."""
    time.sleep(0.25)  # longer than the page waits for a further stroke
    until(browser, "document.getElementById('prediction').getAttribute('aria-busy') === 'false'")
    return " ".join(
        browser.execute_script("return document.getElementById('shares').innerText").split()
    )


def opened(browser, server, width=1280, scheme="light", motion="reduce"):
    browser.get("about:blank")  # what the page before may still ask for is not this page's
    browser.get_log("browser"), browser.get_log("performance")
    visit(browser, server.url, width, scheme, motion)
    until(browser, "document.querySelector('#layers canvas')")
    return settled(browser)


def by_id(browser, identifier):
    return browser.find_element("id", identifier)


def pixels(browser):
    return np.array(browser.execute_script(DRAWN), dtype=object)


@NAMES
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_layout(browser, servers, folder, name, width, scheme):
    server = servers[name]
    opened(browser, server, width, scheme)
    assert browser.get_log("browser") == []
    assert [
        url for url in requests_made(browser) if not url.startswith(("data:", server.url))
    ] == []
    shoot(browser, folder / f"demo-{name}-{width}-{scheme}.png", width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script(OVER_THE_EDGE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(browser, servers, scheme):
    opened(browser, servers["integer"], 1280, scheme)
    found = browser.execute_script(CONTRAST)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]


@NAMES
def test_what_the_server_says_is_shown(browser, servers, name):
    server = servers[name]
    shown = opened(browser, server)
    expected = server.inference.classify(np.asarray(samples()[0].image))
    classes = server.inference.network.describe()["classes"]
    assert by_id(browser, "answer").text.startswith(classes[expected["predicted"]])
    for label, share in zip(classes, expected["shares"][-1], strict=True):
        assert f"{label} {100 * share:.1f} %" in shown
    assert shown.count("after step") == (2 if name == "lif" else 0)
    assert len(browser.find_elements("css selector", "#layers canvas")) == len(expected["layers"])
    energy = expected["energy"]["conventions"][0]["mj"]["fp32"] * 1000
    assert (
        by_id(browser, "costs").text.startswith(f"{energy:.3g}"[:4])
        and "µJ" in by_id(browser, "costs").text
    )
    assert (
        "1 thread" in by_id(browser, "times").text
        and "compiled engine" in by_id(browser, "times").text
    )
    loaded = browser.execute_script(
        "return [...document.images].map(i => i.complete && i.naturalWidth > 0)"
    )
    assert len(loaded) == sum(len(one["images"]) for one in expected["attention"]) and all(loaded)
    assert by_id(browser, "name").text == server.inference.network.name


def test_picking_changes_the_picture_and_the_prediction(browser, servers):
    first = opened(browser, servers["integer"])
    assert pixels(browser).tolist() == np.asarray(samples()[0].image).flatten().tolist()
    choices = browser.find_elements("css selector", "#samples input")
    assert choices[0].get_property("checked") and choices[24].accessible_name.startswith(
        "Bag, test image"
    )
    browser.execute_script("arguments[0].click()", choices[24])
    second = settled(browser)
    assert second != first
    assert pixels(browser).tolist() == np.asarray(samples()[24].image).flatten().tolist()
    assert "labelled" in by_id(browser, "answer").text


def test_drawing_with_the_mouse(browser, servers):
    first = opened(browser, servers["integer"])
    by_id(browser, "clear").click()
    blank = settled(browser)
    assert not pixels(browser).any() and blank != first
    assert "labelled" not in by_id(browser, "answer").text
    assert browser.execute_script("return document.querySelector('#samples input:checked')") is None
    pad = by_id(browser, "pad")
    ActionChains(browser).move_to_element_with_offset(
        pad, -60, -80
    ).click_and_hold().move_by_offset(0, 160).release().perform()
    drawn = settled(browser)
    assert drawn != blank and pixels(browser).max() == 200
    image = pixels(browser).reshape(28, 28)
    assert (image[8:20, 7:9] == 200).all() and not image[:, 14:].any()
    by_id(browser, "undo").click()
    assert settled(browser) == blank and not pixels(browser).any()


def test_filling_and_erasing(browser, servers):
    opened(browser, servers["lif"])
    by_id(browser, "clear").click()
    pad = by_id(browser, "pad")
    browser.find_element("css selector", "[value=fill]").click()
    ActionChains(browser).move_to_element(pad).click().perform()
    assert (pixels(browser) == 200).all()
    browser.find_element("css selector", "[value=eraser]").click()
    ActionChains(browser).move_to_element(pad).click().perform()
    image = pixels(browser).reshape(28, 28)
    assert image[14, 14] == 0 and image[14, 20] == 200 and image[0, 0] == 200


def test_touch_draws_instead_of_scrolling(browser, servers):
    opened(browser, servers["lif"], 360)
    by_id(browser, "clear").click()
    browser.execute_script("document.getElementById('pad').scrollIntoView({block: 'center'})")
    box = browser.execute_script(
        "const b = document.getElementById('pad').getBoundingClientRect(); return [b.x, b.y, "
        "b.width]"
    )
    scrolled = browser.execute_script("return scrollY")
    for kind, share in (
        ("touchStart", 0.2),
        ("touchMove", 0.5),
        ("touchMove", 0.8),
        ("touchEnd", None),
    ):
        points = [] if share is None else [{"x": box[0] + box[2] / 2, "y": box[1] + box[2] * share}]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    image = pixels(browser).reshape(28, 28)
    assert (image[8:20, 13:15] > 0).all() and browser.execute_script("return scrollY") == scrolled


def test_drawing_with_the_keyboard(browser, servers):
    first = opened(browser, servers["integer"], 360)
    by_id(browser, "clear").click()
    settled(browser)
    pad = by_id(browser, "pad")
    browser.execute_script("document.body.focus()")
    browser.execute_script("document.getElementById('content').focus()")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "pad"
    assert (
        browser.execute_script(
            "return getComputedStyle(document.getElementById('cursor')).visibility"
        )
        == "visible"
    )
    pad.send_keys(Keys.ARROW_UP * 6 + Keys.ENTER)
    assert pixels(browser).reshape(28, 28)[8, 14] == 200
    pad.send_keys(" " + Keys.ARROW_DOWN * 10)
    assert by_id(browser, "pen").get_property("textContent") == "row 19, column 15, pen down"
    assert (pixels(browser).reshape(28, 28)[8:19, 14] == 200).all()
    assert settled(browser) != first
    pad.send_keys(" " + Keys.ARROW_RIGHT * 20)
    assert by_id(browser, "pen").get_property("textContent") == "row 19, column 28, pen up"
    assert pixels(browser).reshape(28, 28)[18, 20] == 0


def test_every_control_is_reached_by_tab_and_has_a_name(browser, servers):
    opened(browser, servers["lif"], 768)
    browser.execute_script("document.getElementById('content').focus()")
    seen = {}
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element = browser.switch_to.active_element
        if element.tag_name == "body" or element.id in seen:
            break
        seen[element.id] = element
        assert element.accessible_name, element.get_attribute("outerHTML")
        assert "none" not in browser.execute_script(
            "return getComputedStyle(document.activeElement).outlineStyle"
        ) or (
            element.get_attribute("name") == "sample"  # shown around its picture
        )
    reached = {e.get_attribute("id") or e.get_attribute("name") for e in seen.values()}
    assert {
        "pad",
        "tool",
        "width",
        "tone",
        "undo",
        "clear",
        "sample",
        "previous",
        "play",
        "next",
        "step",
    } <= reached


def test_stepping_through_spikes(browser, servers):
    opened(browser, servers["integer"])
    expected = servers["integer"].inference.classify(np.asarray(samples()[0].image))["layers"][0]
    label = "return document.querySelector('#layers canvas').getAttribute('aria-label')"
    assert by_id(browser, "step-text").text == "counts: all binary steps added"
    total = sum(map(sum, expected["fired"]))
    assert f"{total:,} spikes" in browser.execute_script(label)
    for step in range(1, 5):
        by_id(browser, "next").click()
        assert (
            by_id(browser, "step-text").text == f"binary step {step} of 4: counts of {step} or more"
        )
        assert f"{sum(expected['fired'][step - 1]):,} spikes" in browser.execute_script(label)
    by_id(browser, "next").click()
    assert by_id(browser, "step").get_property("value") == "0"
    by_id(browser, "previous").click()
    assert by_id(browser, "step").get_property("value") == "4"
    by_id(browser, "step").send_keys(Keys.ARROW_LEFT)
    assert by_id(browser, "step-text").text.startswith("binary step 3 of 4")


def test_the_maps_show_where_neurons_fire(browser, servers):
    """Colours of the liveliest map: black where nothing fires, the brightest where most do."""
    opened(browser, servers["integer"])
    layers = servers["integer"].inference.classify(np.asarray(samples()[0].image))["layers"]
    liveliest = max(range(len(layers)), key=lambda i: len(set(layers[i]["fired"][0])))
    by_id(browser, "next").click()
    script = (
        f"const c = document.querySelectorAll('#layers canvas')[{liveliest}];"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    found = np.array(browser.execute_script(script)).reshape(-1, 4)[:, :3].sum(1)
    fired = np.array(layers[liveliest]["fired"][0])
    order = np.argsort(fired, kind="stable")
    assert len(found) == len(fired) and (np.diff(found[order]) >= 0).all() and len(set(found)) > 2
    assert set(found[fired == 0]) <= {found.min()}


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion_starts_by_itself_only_where_it_is_welcome(browser, servers, motion):
    opened(browser, servers["lif"], motion=motion)
    play = by_id(browser, "play")
    if motion == "reduce":
        time.sleep(1.2)
        assert play.text == "Play" and by_id(browser, "step").get_property("value") == "0"
        # the class comes with the next frame
        flashed = "document.querySelector('#layers li.flash canvas')"
        animation = f"{flashed} && getComputedStyle({flashed}).animationName"
        by_id(browser, "next").click()
        assert until(browser, animation) == "none"
        play.click()
    assert play.text == "Pause"
    until(browser, "document.getElementById('step').value === '1'")
    until(browser, "document.getElementById('step').value === '2'")
    play.click()
    at = by_id(browser, "step").get_property("value")
    time.sleep(1.2)
    assert by_id(browser, "step").get_property("value") == at and play.text == "Play"


def test_what_the_server_refuses_is_told(browser, servers, monkeypatch):
    server = servers["lif"]
    opened(browser, server)
    error = by_id(browser, "error")
    assert not error.is_displayed() and error.get_attribute("role") == "alert"
    monkeypatch.setattr("spikedriven.demo.server.LARGEST_BODY", 10)
    by_id(browser, "clear").click()
    settled(browser)
    assert "at most 10 are taken" in error.text and error.is_displayed()
    monkeypatch.undo()
    by_id(browser, "undo").click()
    settled(browser)
    assert not error.is_displayed()
    assert len(browser.get_log("browser")) == 1  # the browser's own line about the status 400
