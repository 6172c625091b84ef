"""What the figure of docs/t_by_d.md claims."""

from pathlib import Path

import pytest
import torch
from draw_t_by_d import FIGURE, INPUTS, LEVELS, both_outputs, counts, network

import spikedriven as sd
from spikedriven.neurons.expanded import ExpandedNeuron


def test_binary_steps_sum_to_the_count() -> None:
    x = torch.tensor([*INPUTS, -1.0, 0.5, 1.5, 2.5, 3.5, 9.0], dtype=torch.float64)
    steps = ExpandedNeuron(LEVELS)(x.unsqueeze(0))
    assert torch.equal(steps.sum(0), counts(x)[0]) and set(steps.unique().tolist()) == {0.0, 1.0}


def test_a_lif_neuron_says_less_in_four_steps() -> None:
    integer, lif = counts(torch.linspace(-1, 6, 701, dtype=torch.float64))
    assert set(integer.tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert set(lif.tolist()) == {0.0, 1.0, 2.0, 4.0}


@pytest.mark.slow
def test_both_networks_give_the_same_logits_and_fire() -> None:
    integer, spiking = both_outputs()
    assert (
        integer.shape == (8, 10) and len(integer.unique(dim=0)) > 1
    )  # the images reach the logits
    assert (integer - spiking).abs().max() < 1e-12 * integer.abs().max()
    assert (
        min(sd.firing_rates(network(), torch.randn(4, 1, 16, 16, dtype=torch.float64)).values()) > 0
    )


def test_the_figure_is_there_and_small() -> None:
    assert FIGURE.read_text().count("<svg") == 1 and FIGURE.stat().st_size < 200_000
    page = Path(__file__).parents[2] / "docs" / "t_by_d.md"
    assert f"({FIGURE.relative_to(page.parent)})" in page.read_text()


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_a_soft_reset_neuron_driven_once_fires_as_often(levels: int) -> None:
    """No leak, threshold 1, driven with x + 1/2, then left alone: the sentence in the page."""
    x = torch.linspace(-1, levels + 2, 997, dtype=torch.float64)
    membrane, fired = x + 0.5, torch.zeros_like(x)
    for _ in range(levels):
        spikes = (membrane >= 1).double()
        membrane, fired = membrane - spikes, fired + spikes
    assert torch.equal(fired, (x.clamp(0, levels) + 0.5).floor())
