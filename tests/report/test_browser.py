"""The page in headless Chromium: nothing overflows, nothing is fetched or logged, text is
legible in both schemes.
"""

import pytest

from tests.browser import (
    CONTRAST,
    OVER_THE_EDGE,
    open_browser,  # noqa: F401
    requests_made,
    screenshot_folder,  # noqa: F401
    shoot,
    visit,
)

WIDTHS = (360, 768, 1920)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run", "random", "masked"])
def test_layout(browser, pages, folder, name, width, scheme):
    browser.get_log("browser"), browser.get_log("performance")
    visit(browser, pages[name].as_uri(), width, scheme)
    assert browser.get_log("browser") == []
    outside = [
        url for url in requests_made(browser) if not url.startswith(("data:", pages[name].as_uri()))
    ]
    assert outside == []
    shoot(browser, folder / f"{name}-{width}-{scheme}.png", width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script(OVER_THE_EDGE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["run", "random", "masked"])
def test_text_is_legible(browser, pages, name, scheme):
    visit(browser, pages[name].as_uri(), 1280, scheme)
    found = browser.execute_script(CONTRAST)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]


def test_pictures_and_heading_arrive(browser, pages, run):
    visit(browser, pages["run"].as_uri(), 1280, "light")
    loaded = browser.execute_script(
        "return [...document.images].map(i => i.complete && i.naturalWidth > 0)"
    )
    assert all(loaded)
    # samples; for each map its image, two places, two steps; network, raster, energy
    assert len(loaded) == 6 + 2 * (1 + 4) + 3
    assert browser.find_element("css selector", "h1").text == run.name
    assert (
        browser.execute_script(
            "return getComputedStyle(document.querySelector('.heat')).backgroundColor"
        )
        != ""
    )


def test_keyboard(browser, pages):
    """The first stop is the skip link, visible when focused; it leads to the content; parts
    unfold by Enter.
    """
    visit(browser, pages["run"].as_uri(), 360, "light")
    focused = "return document.activeElement"
    browser.switch_to.active_element.send_keys("\ue004")  # Tab
    link = browser.execute_script(focused)
    assert link.text == "Skip to the content" and link.rect["y"] >= 0
    assert "none" not in browser.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle"
    )
    link.send_keys("\ue007")  # Enter
    assert browser.execute_script(focused).get_attribute("id") == "content"
    summary = browser.find_element("css selector", "details:not([open]) summary")
    summary.send_keys("\ue007")
    assert summary.find_element("xpath", "..").get_attribute("open") is not None
    table = browser.find_element("css selector", ".confusion").find_element("xpath", "..")
    browser.execute_script("arguments[0].focus()", table)
    before = table.get_property("scrollLeft")
    table.send_keys("\ue014" * 5)  # arrow right
    browser.implicitly_wait(1)
    assert browser.execute_async_script(
        "const [e, b, done] = arguments; let n = 0; const look = () => e.scrollLeft > b || ++n > "
        "100 ? "
        "done(e.scrollLeft > b) : setTimeout(look, 20); look()",
        table,
        before,
    )
