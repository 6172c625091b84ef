"""docs/scale.md: what is counted is what happens, the model's limits, and a page that is the
JSON file's.
"""

import json

import pytest
import torch
from scale_model import count, count_recipe, eager, main, per_further_image
from scale_page import (
    DOCS,
    Constants,
    Counts,
    Gpu,
    exchange_seconds,
    fill,
    fit,
    hours,
    memory_bytes,
    step_seconds,
)
from torch import nn

import spikedriven as sd
from spikedriven.graph.counts import count_layers, operands_to_measure
from spikedriven.recipes import load_recipe
from tests.networks import live_model, shrunk

GPU = Gpu(peak=1e12, peak_share=0.5, bandwidth=1e11, bandwidth_share=1.0, inside=1e9, between=1e8)
COUNTS = Counts(
    params=10**6,
    macs=1e9,
    teacher=0.0,
    saved=1e7,
    batch=10,
    images=1000,
    epochs=2,
    half=True,
    averaged=False,
)
CONSTANTS = Constants(passes=4.0, half_share=0.5)


@pytest.fixture(autouse=True)
def no_kernels():
    with eager():
        yield


def test_operations_are_those_of_the_spike_graph():
    model = live_model("sdt_2_256_cifar", **shrunk("sdt_2_256_cifar"))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    graph = sd.trace(model, x)
    layers = count_layers(graph, dict.fromkeys(operands_to_measure(graph), 1.0))
    expected = sum(layer.ops for layer in layers if layer.op in ("conv", "linear", "matmul"))
    assert count(model.train(), x)[0] == expected > 1e6


def test_saved_bytes_of_a_chain_that_can_be_counted_by_hand():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Tanh(), nn.Linear(16, 4))
    batch = torch.randn(3, 8)
    assert count(model, batch) == (8 * 16 + 16 * 4, 4 * (8 + 16 + 16)), (
        "inputs of both layers, outputs of both tanh"
    )


def test_without_memory_the_counts_are_the_same():
    with torch.device("meta"):
        empty = sd.create_model("meta_spikeformer_15m", img_size=32).train()
        counted = count(empty, torch.zeros(2, 3, 32, 32))
    assert counted == count(
        sd.create_model("meta_spikeformer_15m", img_size=32).train(), torch.zeros(2, 3, 32, 32)
    )


def test_bytes_grow_with_images():
    model = sd.create_model("sdt_2_256_cifar", img_size=16).train()
    assert per_further_image(model) == pytest.approx(
        count(model, torch.randn(2, 3, 64, 64))[1], rel=0.01
    )


@pytest.mark.parametrize(
    "name", ["sdt_imagenet_8_384", "e_spikeformer_hardvs_19m", "meta_spikeformer_voc2012_15m"]
)
def test_recipes_are_counted_in_their_own_size(name: str):
    found, recipe = count_recipe(name), load_recipe(name)
    assert (found.batch, found.epochs) == (recipe.run.batch_size, recipe.schedule.total_epochs)
    assert (
        found.half == (recipe.run.amp == "fp16")
        and found.macs > 1e9
        and found.saved > 1e7
        and found.teacher == 0
    )


def test_a_step_is_the_sum_of_its_parts():
    products, traffic, update = 10 * 6e9 / 5e11, 10 * 4 * 5e6 / 1e11, 32e6 / 1e11
    assert step_seconds(COUNTS, CONSTANTS, GPU, 1) == pytest.approx(products + traffic + update)
    whole = Counts(**{**COUNTS.__dict__, "half": False})
    assert step_seconds(whole, CONSTANTS, GPU, 1) == pytest.approx(
        2 * products + 2 * traffic + update
    )
    assert exchange_seconds(COUNTS, GPU, 1) == 0
    assert exchange_seconds(COUNTS, GPU, 8) == pytest.approx(2 * 7 / 8 * 4e6 / 1e9)
    assert step_seconds(COUNTS, CONSTANTS, GPU, 8) == step_seconds(COUNTS, CONSTANTS, GPU, 1), (
        "hidden"
    )
    slow = Gpu(**{**GPU.__dict__, "between": 1e7})
    shown = 2 * 15 / 16 * 4e6 / 1e7 - 2 / 3 * (products + traffic)
    assert step_seconds(COUNTS, CONSTANTS, slow, 16) == pytest.approx(
        products + traffic + update + shown
    )
    assert hours(COUNTS, CONSTANTS, GPU, 4) == pytest.approx(
        2 * 25 * step_seconds(COUNTS, CONSTANTS, GPU, 4) / 3600
    )


def test_memory_spread_over_gpus():
    assert memory_bytes(COUNTS, CONSTANTS) == (16e6, 5e7)
    assert memory_bytes(COUNTS, CONSTANTS, 8, sharded=True) == (2e6, 5e7)
    assert memory_bytes(Counts(**{**COUNTS.__dict__, "averaged": True}), CONSTANTS)[0] == 20e6


@pytest.mark.parametrize(("share", "fitted"), [(0.8, 0.8), (1.3, 1.0)])
def test_fit_finds_the_constants_that_made_the_times(share: float, fitted: float):
    """Products cannot be faster than the measured rate, whatever the times say."""
    found = {"gemm": 5e10, "copy": 1e10, "networks": [
        {"macs": macs, "saved": saved, "seconds": 6 * macs / (share * 5e10) + 5 * saved / 1e10}
        for macs, saved in ((1e9, 1e7), (3e9, 5e8), (1e10, 2e8))
    ]}  # fmt: skip
    assert fit(found)[0] == pytest.approx(fitted)
    assert fit(found)[1] == pytest.approx(5.0) if share < 1 else 0 < fit(found)[1] < 5.0


def test_the_page_is_made_from_the_file(tmp_path):
    for name in ("scale.json", "scale.svg"):
        (tmp_path / name).write_bytes((DOCS / "figures" / name).read_bytes())
    (tmp_path / "scale.md").write_bytes((DOCS / "scale.md").read_bytes())
    main(
        [
            "--keep",
            "all",
            "--out",
            str(tmp_path / "scale.svg"),
            "--page",
            str(tmp_path / "scale.md"),
        ]
    )
    assert (tmp_path / "scale.md").read_text() == (DOCS / "scale.md").read_text()
    assert "extrapolated" in (tmp_path / "scale.md").read_text()
    recipes = json.loads((tmp_path / "scale.json").read_text())["recipes"]
    assert all((tmp_path / "scale.md").read_text().count(f"| `{name}` |") >= 3 for name in recipes)


def test_fill_replaces_between_markers():
    page = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n"
    assert (
        fill(page, {"x": "1", "y": "2"})
        == "a\n<!-- x -->\n1\n<!-- end -->\nb\n<!-- y -->\n2\n<!-- end -->\n"
    )
