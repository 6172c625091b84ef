"""The weights that ship: their card, their accuracy, and every tool on them. Images: the test
part of fashion-mini.
"""

import re

import pytest
import torch
from torch import Tensor

import spikedriven as sd
from spikedriven.data import DataConfig, build_eval_loader
from spikedriven.models.pretrained import FOLDER, pretrained_names

NAME = "e_spikeformer_fashion"
LARGEST = 6 * 2**20  # bytes; they are in every installation


@pytest.fixture(scope="module")
def model():
    return sd.create_model(NAME, pretrained=True).eval()


@pytest.fixture(scope="module")
def garments() -> tuple[Tensor, Tensor]:
    data = DataConfig(dataset="fashion-mini", img_size=28, in_chans=1, crop_pct=1.0, workers=0)
    return next(iter(build_eval_loader(data, "test", batch_size=2000)))


@pytest.fixture(scope="module")
def logits(model, garments):
    with torch.no_grad():
        return torch.cat([model(part) for part in garments[0].split(250)])


def top1(logits: Tensor, labels: Tensor) -> float:
    return 100 * (logits.argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize("name", pretrained_names())
def test_small_and_with_a_card(name):
    assert (FOLDER / f"{name}.safetensors").stat().st_size <= LARGEST
    card = (FOLDER / f"{name}.md").read_text()
    assert card.startswith(f"# {name}\n") and "Apache-2.0" in card and "**Accuracy**" in card


def test_accuracy_is_that_of_the_card(logits, garments):
    told = float(re.search(r"Accuracy\*\*: ([\d.]+) %", (FOLDER / f"{NAME}.md").read_text())[1])
    # a fifth of the images that the card's figure is of: three standard deviations of such a sample
    # are 1.5 points
    assert abs(top1(logits, garments[1]) - told) < 1.5


@pytest.mark.slow
def test_a_program_of_eight_bits_is_as_accurate(model, logits, garments):
    program = sd.compile(model, garments[0][:16])
    found = torch.cat([torch.as_tensor(program(part)) for part in garments[0].split(250)])
    assert abs(top1(found, garments[1]) - top1(logits, garments[1])) <= 1.0


def test_expanded_network_gives_the_same(model, garments):
    images = garments[0][:8].double()
    counting = sd.create_model(NAME, pretrained=True).eval().double()
    with torch.no_grad():
        torch.testing.assert_close(
            sd.expand(counting)(images), counting(images), rtol=1e-9, atol=1e-9
        )


def test_measured_at_once(model, garments):
    rates = sd.firing_rates(model, garments[0][:64])
    assert all(0 < rate < 4 for rate in rates.values())
    assert sd.energy(model, garments[0][:16]).total_mj > 0
    assert sd.audit(model, garments[0][:1]).rows
