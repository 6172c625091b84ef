"""Every link in README and docs leads somewhere: to a file, and to a heading where it names one."""

import re
from functools import cache
from pathlib import Path

import pytest

import spikedriven

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
    ROOT / "docs" / "llms.txt",
]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`[^`\n]*`")


def links(page: Path) -> list[str]:
    """Targets of links that stay in the repository."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"(?<!\[)`[^`\n]*`", "", text)
    return [
        target
        for target in _LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:")
    ]


@cache
def anchors(page: Path) -> set[str]:
    """Headings as GitHub and MyST name them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE)}


def slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    broken = []
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        missing = anchor and path.suffix == ".md" and path.exists() and anchor not in anchors(path)
        if not path.exists() or missing:
            broken.append(target)
    assert not broken


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One Two: three\n[a](missing.md) [b](#one-two-three) [c](https://x.org) `[d](no.md)`\n"
    )
    assert links(page) == ["missing.md", "#one-two-three"] and anchors(page) == {"one-two-three"}


def test_every_page_is_in_the_book():
    told = re.findall(r"^([\w/]+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    pages = {
        str(path.relative_to(ROOT / "docs").with_suffix(""))
        for pattern in ("*.md", "*.rst")
        for path in (ROOT / "docs").rglob(pattern)
        if "_build" not in path.parts
    }
    assert pages - {"index"} == set(told)


def test_every_public_function_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "functions.md").read_text()
    told = re.findall(r"^\.\. autofunction:: spikedriven\.(\w+)$", page, re.MULTILINE)
    assert sorted(told) == sorted(spikedriven.__all__)
