"""What the figure of attention's cost claims."""

import sys
from pathlib import Path

import draw_attention_cost
import pytest
import torch
from draw_attention_cost import OUT, masked, series, softmax

from spikedriven.claims.counted import softmax_operations
from spikedriven.neurons import LIF


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(draw_attention_cost, "TOKENS", (8, 16, 32))
    monkeypatch.setattr(draw_attention_cost, "CHANNELS", (8, 16))
    monkeypatch.setattr(draw_attention_cost, "CHANNELS_FIXED", 16)
    monkeypatch.setattr(draw_attention_cost, "TOKENS_FIXED", 8)
    monkeypatch.setattr(draw_attention_cost, "ROUNDS", 2)


def test_linear_against_quadratic(small):
    (_, _, tokens), (_, _, channels) = series(measure=False)
    assert [later[0] / tokens[0][0] for later in tokens] == [1, 2, 4]
    assert [later[1] / tokens[0][1] for later in tokens] == [1, 4, 16]
    assert [later[i] / channels[0][i] for later in channels for i in (0, 1)] == [1, 1, 2, 2]
    assert softmax_operations(16, 8) == 2 * 8 * 8 * 16


def test_what_is_timed_is_what_is_counted():
    q = (torch.rand(1, 1, 16, 8, 1) < 0.5).float()
    assert masked(q, LIF(v_threshold=0.5)).shape == q.shape
    assert softmax(q).shape == (1, 1, 8, 8, 2)  # heads, tokens, channels of a head


def test_the_script_draws(small, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_attention_cost, "OUT", tmp_path / "cost.svg")
    monkeypatch.setattr(sys, "argv", ["draw_attention_cost.py", "--measure"])
    draw_attention_cost.main()
    assert (tmp_path / "cost.svg").read_text().count('id="axes_') == 4  # counted and timed


def test_the_figure_is_there():
    page = Path(__file__).parents[2] / "docs" / "energy.md"
    assert OUT.read_text().count("<svg") == 1 and OUT.stat().st_size < 200_000
    assert f"({OUT.relative_to(page.parent)})" in page.read_text()
