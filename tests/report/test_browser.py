"""The page in headless Chromium: nothing overflows, nothing is fetched or logged, text is legible in both schemes.

Screenshots go to the folder in SPIKEDRIVEN_SCREENSHOTS, else to pytest's temporary folder.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not BROWSER or not DRIVER:
    pytest.skip(
        "no Chromium with chromedriver on this machine: sh tools/install_chromium.sh installs them with apt",
        allow_module_level=True,
    )
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install 'spikedriven[test]'")

WIDTHS = (360, 768, 1920)
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
#: Scrolling containers that reach over the right edge themselves.
OVER_THE_EDGE = """
return [...document.querySelectorAll('.scroll, pre, svg, img, p')].filter(e => !e.parentElement.closest('.scroll'))
  .filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80));
"""
#: Contrast of every piece of visible text with what is behind it (WCAG 2): the text and the ratio, worst first.
CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const parse = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b; };
const behind = element => { const layers = []; for (let e = element; e; e = e.parentElement)
    layers.push(parse(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), parse('canvas')); };
const found = [];
document.querySelectorAll('details').forEach(d => d.open = true);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || !element.checkVisibility() || element.closest('svg title, svg desc')) continue;
  const style = getComputedStyle(element), back = behind(element);
  const color = over(parse(element.closest('svg') ? style.fill : style.color), back);
  const [a, b] = [light(color), light(back)].sort((x, y) => y - x);
  found.push([(a + .05) / (b + .05), text]);
}
return found.sort((x, y) => x[0] - y[0]);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("SPIKEDRIVEN_SCREENSHOTS")
    path = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


def visit(browser: Any, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def requests_made(browser: Any) -> list[str]:
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["run", "random"])
def test_layout(browser, pages, folder, name, width, scheme):
    browser.get_log("browser"), browser.get_log("performance")
    visit(browser, pages[name], width, scheme)
    assert browser.get_log("browser") == []
    outside = [url for url in requests_made(browser) if not url.startswith(("data:", pages[name].as_uri()))]
    assert outside == []
    shoot(browser, folder / f"{name}-{width}-{scheme}.png", width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script(OVER_THE_EDGE) == []


def shoot(browser: Any, path: Path, width: int) -> None:
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), 12000)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(shot["data"]))
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["run", "random"])
def test_text_is_legible(browser, pages, name, scheme):
    visit(browser, pages[name], 1280, scheme)
    found = browser.execute_script(CONTRAST)
    assert len(found) > 300
    assert found[0][0] >= 4.5, found[:5]


def test_pictures_and_heading_arrive(browser, pages, run):
    visit(browser, pages["run"], 1280, "light")
    loaded = browser.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(loaded) == 6 + 2 * (1 + 4) and all(loaded)  # samples; for each map its image, two places, two steps
    assert browser.find_element("css selector", "h1").text == run.name
    assert browser.execute_script("return getComputedStyle(document.querySelector('.heat')).backgroundColor") != ""


def test_keyboard(browser, pages):
    """The first stop is the skip link, visible when focused; it leads to the content; parts unfold by Enter."""
    visit(browser, pages["run"], 360, "light")
    focused = "return document.activeElement"
    browser.switch_to.active_element.send_keys("\ue004")  # Tab
    link = browser.execute_script(focused)
    assert link.text == "Skip to the content" and link.rect["y"] >= 0
    assert "none" not in browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
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
        "const [e, b, done] = arguments; let n = 0; const look = () => e.scrollLeft > b || ++n > 100 ? "
        "done(e.scrollLeft > b) : setTimeout(look, 20); look()", table, before,
    )  # fmt: skip
