"""The page as a document: complete, self-contained, escaped, readable by a screen reader. No
browser needed.
"""

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from torch import nn

from spikedriven.cli import main
from spikedriven.errors import InputError
from spikedriven.report import write_report
from spikedriven.report.sections.network import network
from spikedriven.report.sections.origin import commands
from spikedriven.report.sections.overview import key_figures
from tests.report.conftest import HOSTILE

VOID = {"meta", "link", "img", "wbr"}


class Document(HTMLParser):
    """Elements as (tag, attributes, text), with every tag closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.open: list[tuple[str, dict, list[str]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def all(self, *tags: str) -> list[tuple[str, dict, str]]:
        return [(tag, attrs, "".join(text)) for tag, attrs, text in self.elements if tag in tags]


@pytest.fixture(params=["run", "random", "masked"])
def document(request, pages) -> Document:
    return Document(pages[request.param].read_text(encoding="utf-8"))


def test_headings_are_in_order(document):
    levels = [int(tag[1]) for tag, _, _ in document.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1 and levels.count(2) == 10
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_references_arrive(document):
    ids = [attrs["id"] for _, attrs, _ in document.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs, _ in document.elements:
        for name in attrs.get("aria-labelledby", "").split():
            assert name in ids
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids


def test_landmarks_language_and_names(document):
    for tag in ("header", "nav", "main", "footer", "title"):
        assert len(document.all(tag)) >= 1, tag
    assert document.all("html")[0][1]["lang"] == "en"
    assert all("aria-labelledby" in attrs for _, attrs, _ in document.all("section"))
    assert all(attrs.get("alt") and attrs.get("width") for _, attrs, _ in document.all("img"))
    assert all(attrs["role"] == "img" for _, attrs, _ in document.all("svg"))
    stops = [attrs for _, attrs, _ in document.elements if attrs.get("tabindex") == "0"]
    assert len(stops) > 9 and all(
        attrs["aria-label"] and attrs["role"] == "group" for attrs in stops
    )


def test_tables_have_captions_and_scopes(document):
    assert len(document.all("table")) == len(document.all("caption")) >= 9
    assert all(attrs.get("scope") in ("col", "row") for _, attrs, _ in document.all("th"))


def test_nothing_is_fetched_and_nothing_runs(document):
    assert not document.all("script", "iframe", "object", "embed", "base", "form")
    for _, attrs, _ in document.elements:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "srcset", "data", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    policy = next(
        a["content"]
        for _, a, _ in document.all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'") and "script" not in policy
    assert not re.search(r"url\(|@import|@font-face", document.all("style")[0][2])


def test_both_colour_schemes_define_the_same_colours(document):
    light, dark = document.all("style")[0][2].split("@media (prefers-color-scheme: dark)")
    defined = [set(re.findall(r"(--[a-z-]+):", part.split("* {")[0])) for part in (light, dark)]
    assert defined[0] - {"--share"} == defined[1] != set()
    used = set(re.findall(r"var\((--[a-z-]+)", light + dark))
    assert used - {"--share"} <= defined[0]


def test_hostile_names_stay_text(pages, run):
    text = pages["run"].read_text(encoding="utf-8")
    assert "<script" not in text and "<b>" not in text
    found = Document(text)
    assert any(name == HOSTILE for _, _, name in found.all("th"))
    assert found.all("h1")[0][2] == run.name == "a <b> & run"


def test_contents_of_a_runs_page(pages, found):
    text = "".join(Document(pages["run"].read_text(encoding="utf-8")).all("main")[0][2])
    for expected in (
        f"Top-1 {found.accuracy.top1:.2f} %",
        "all 200 images of split train of fashion-mini",
        "embed_dim 32",
        "blocks.0.attn.sum_neuron",
        "blocks.0.attn output",
        "E_AC x",
        "5.7% to 6.4%",
        "seed of the run",
        "dataset: fashion-mini",
        "spikedriven eval",
        f"{found.energies['step'].total_mj:.4g}",
        "Where spiking pays",
        "differ by less than 1e-09",
        "torch",
    ):
        assert expected in text, expected
    assert (
        len(re.findall("<polyline", pages["run"].read_text())) == 3
    )  # no evaluation in so short a run


def test_the_summary_begins_with_what_is_asked_first(found):
    shown = Document(key_figures(dataclasses.replace(found, latency=0.0123)))
    names = [text for _, _, text in shown.all("dt")]
    values = dict(zip(names, (text for _, _, text in shown.all("dd")), strict=True))
    assert names[1:6] == [
        "energy, convention sdt",
        "latency in PyTorch, here",
        "spikes per image",
        "as released",
        "after folding",
    ]
    assert values["latency in PyTorch, here"].startswith("12.3 ms per image")
    amount, unit = values["energy, convention sdt"].split()[:2]
    assert 1 <= float(amount) < 1000
    in_mj = float(amount) * {"mJ": 1.0, "µJ": 1e-3, "nJ": 1e-6}[unit]
    assert in_mj == pytest.approx(found.energies["sdt"].total_mj, rel=1e-3)
    assert 0 < found.latency < 60


def test_a_network_without_neuron_modules_has_no_raster(found):
    none = dataclasses.replace(found, subject=dataclasses.replace(found.subject, model=Plain()))
    text = "".join(Document(network(none)).all("section")[0][2])
    assert "No raster of spikes: Plain has no neuron" in text


class Plain(nn.Module):
    def forward(self, x):
        return x


def test_contents_of_a_page_without_a_run(pages):
    text = "".join(Document(pages["random"].read_text(encoding="utf-8")).all("main")[0][2])
    assert "spiking pays" not in text and "spiking does" not in text.lower()
    for expected in (
        "Random weights:",
        "NO VERDICT: random weights; random input",
        "no verdict",
        "4 samples of noise",
        "Not measured: the weights are random",
        "no curves",
        "As released: addition-only",
        "IMAGE",
    ):
        assert expected in text, expected


def test_commands_are_real(found, found_random, picture_file, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "spikedriven.cli.report.write_report", lambda request, out: asked.append(request) or out
    )
    lines = [line[1:] for findings in (found, found_random) for line in commands(findings)]
    assert {line[0] for line in lines} == {
        "train",
        "eval",
        "energy",
        "audit",
        "firing",
        "attention",
        "report",
    }
    shorter = {"train": ["--show"], "energy": ["--images", "2"],
               "firing": ["--images", "2", "--out", str(tmp_path / "firing.csv")],
               "attention": ["--out", str(tmp_path / "maps.png")]}  # fmt: skip
    for line in lines:
        words = [str(picture_file) if word == "IMAGE" else word for word in line]
        assert main([*words, *shorter.get(line[0], [])]) == 0, line
    for request, findings in zip(asked, (found, found_random), strict=True):
        expected = vars(findings.subject.request)
        assert {name: vars(request)[name] for name in expected} == expected


def test_command_and_function_write_the_file(run, tmp_path, capsys):
    small = ["--accuracy-images", "20", "--images", "10", "--maps", "1", "--samples", "2"]
    out = tmp_path / "sub" / "page.html"
    assert main(["report", str(run), *small, "--out", str(out), "--json"]) == 0
    assert str(out) in capsys.readouterr().out
    assert "20 evenly spaced of 2000 images of split test" in out.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no model is called 'nothing'"):
        write_report("nothing", tmp_path / "nothing.html")
    assert not (tmp_path / "nothing.html").exists()
