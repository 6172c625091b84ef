"""The code on the pages "Ideas" and "Five minutes" runs as it stands, with the results it names."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

DOCS = Path(__file__).parents[2] / "docs"


def run(page: str) -> dict[str, Any]:
    """All Python blocks of a page, one after the other; what they defined."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)
    return names


def test_surrogates():
    names = run("ideas/surrogates")
    assert names["spikes"].tolist() == [0, 0, 1, 1]
    assert names["u"].grad.tolist() == pytest.approx([0.4, 0.9, 0.9, 0.4])


def test_the_verdict_that_the_page_shows():
    names = run("ideas/spike_driven")
    assert names["neuron"](names["current"]).flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
    assert (names["spikes"] @ names["weight"]).tolist() == [1.5, 1.0]
    assert names["report"].verdict() in (DOCS / "ideas" / "spike_driven.md").read_text()


def test_time():
    names = run("ideas/time_and_layout")
    with torch.no_grad():
        assert names["model"](names["image"]).shape == (4, 1, 10)
    assert names["state"].steps == 4 and names["logits"].shape == (1, 10)


@pytest.mark.slow
def test_integers():
    names = run("ideas/integer_training")
    counts = torch.tensor([[-1.0, 0.4, 1.2, 2.6, 9.0]])
    assert names["neuron"](counts).tolist() == [[0, 0, 0.25, 0.75, 1]]
    assert torch.allclose(
        names["spiking"](torch.ones(1, 1, 28, 28)),
        names["model"](torch.ones(1, 1, 28, 28)),
        atol=1e-4,
    )


@pytest.mark.slow
def test_five_minutes():
    names = run("start/five_minutes")
    with torch.no_grad():
        found = names["model"](names["batch"]).argmax(1)
    assert (found == names["labels"]).float().mean() > 0.85
    assert names["program"](names["batch"]).shape == (100, 10)
