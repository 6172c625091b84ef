"""The picture of the README: three sizes of maps, rates of the network, and its energies."""

import pytest
import torch
from readme_figure import FIGURE, NAME, both_energies, spike_maps

import spikedriven as sd
from spikedriven.data import build_eval_loader, config_for


@pytest.fixture(scope="module")
def image():
    cfg = config_for("fashion-mini", img_size=28, workers=0)
    return next(iter(build_eval_loader(cfg, batch_size=1)))[0]


@pytest.fixture(scope="module")
def model():
    return sd.create_model(NAME, pretrained=True).eval()


def test_the_maps_are_those_of_the_neurons(model, image):
    maps = spike_maps(model, image)
    assert [tuple(rates.shape) for _, rates in maps] == [(28, 28), (14, 14), (7, 7)]
    rates = sd.firing_rates(model, image)
    for name, found in maps:
        assert torch.isclose(found.double().mean(), torch.tensor(rates[name], dtype=torch.float64))


@pytest.mark.slow
def test_the_energies_are_those_of_the_report(model, image):
    found = both_energies(model, image)
    report = sd.energy(model, image, convention="sdt")
    assert list(found.values()) == pytest.approx(
        [1000 * report.total_mj, 1000 * report.comparison.ann_mj]
    )
    assert FIGURE.stat().st_size < 200_000
