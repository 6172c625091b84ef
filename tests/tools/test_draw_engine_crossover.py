"""The figure of docs/engine.md: where lines cross, and that the measured layer is the one it
names.
"""

import json

import pytest
import torch
from draw_engine_crossover import Layers, crossover, dense_products, main

RATES = [0.01, 0.1, 0.5]
FOUND = {
    "name": "sdt_2_512_cifar", "rates": RATES, "threads": 2,
    "layer": {"engine": [0.2, 1.0, 5.0], "dense": {"fp32": 16.0, "bf16": 3.0}},
    "network": {"engine": [1.0, 2.0, 8.0], "dense": {"eager": 48.0, "openvino": 0.5}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("dense", "rate"), [(3.0, 0.3), (1.0, 0.1), (0.6, 0.055), (0.1, None), (6.0, None)]
)
def test_crossover_lies_between_measured_rates(dense, rate):
    found = crossover(RATES, [0.2, 1.0, 5.0], dense)
    assert found is None if rate is None else found == pytest.approx(rate)


def test_redraw(tmp_path):
    (tmp_path / "figure.json").write_text(json.dumps(FOUND))
    main(["--redraw", "--out", str(tmp_path / "figure.svg")])
    shown = (tmp_path / "figure.svg").read_text()
    for text in (
        "bf16: 3 ms, crossed at 30 %",
        "fp32: 16 ms",
        "openvino: 0.5 ms",
        "784 x 512",
        "2 threads",
    ):
        assert f"<!-- {text}" in shown or text in shown, text


def test_the_layer_in_the_middle_is_the_only_difference():
    whole, without = Layers(whole=True).eval(), Layers(whole=False).eval()
    assert torch.equal(whole.before.project.conv.weight, without.before.project.conv.weight)
    frames = torch.randn(1, 4, 3, 14, 14)
    with torch.no_grad():
        spikes = whole.before(frames.transpose(0, 1))
        assert spikes[..., 0, 0].numel() == 4 * 512 and spikes.numel() == 784 * 512
        assert whole.layer(spikes).sum() == 0 and whole.layer(spikes).shape[2] == 2048
        assert whole(frames).shape == without(frames).shape == (1, 16)


def test_dense_products_agree():
    spikes, weight = (torch.rand(32, 64) < 0.2).float(), torch.randn(48, 64)
    expected = spikes @ weight.T
    for name, call in dense_products(spikes, weight).items():
        found = call.function().float() * (weight.abs().max() / 127 if name == "int8" else 1.0)
        assert (found - expected).norm() < 0.02 * expected.norm(), name
        assert call.ask(0) > 0
