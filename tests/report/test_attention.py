"""Firing maps: the right spikes, of every family, and the command that draws them."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import spikedriven as sd
from spikedriven.cli import attention as cli_attention
from spikedriven.cli import main
from spikedriven.errors import DataError, InputError
from spikedriven.neurons import LIF
from spikedriven.report.attention import FiringMap, firing_maps
from spikedriven.report.figure import attention_figure
from spikedriven.report.images import overlay, picture, read_frames
from tests.networks import live_input, live_model, shrunk

ONE_OF_EACH = [
    "sdt_8_384",
    "sdt_2_256_cifar10dvs",
    "spikingformer_4_256_cifar",
    "meta_spikeformer_15m",
    "e_spikeformer_3m",
    "e_spikeformer_83m",
    "e_spikeformer_hardvs_19m",
    "spikformer_4_384_cifar",
    "qkformer_4_384_cifar",
]


def outputs_of(model: nn.Module, sample: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    seen = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.__setitem__(name, out)
        )
        for name in names
    ]
    with torch.no_grad():
        model(sample)
    for hook in hooks:
        hook.remove()
    return seen


#: The neuron whose output an attention's last projection reads, or the mask is made from.
LAST = ("sum_neuron", "attention_neuron", "out.neuron")


def has(model: nn.Module, name: str) -> bool:
    return name in dict(model.named_modules())


def left_by(model: nn.Module, block: str, last: str, seen: dict[str, torch.Tensor]) -> torch.Tensor:
    """What an attention hands to its last projection, from what its neurons put out."""
    spikes = seen[f"{block}.{last}"]
    if last == "sum_neuron":
        return spikes * seen[f"{block}.q"]
    if has(model, f"{block}.v"):
        return spikes
    heads = model.get_submodule(block).num_heads  # spikes [T, B, heads, 1, H, W]
    return (spikes * seen[f"{block}.k"].unflatten(2, (heads, -1))).flatten(2, 3)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_maps_are_the_means_of_the_right_spikes(name):
    model = live_model(name, **shrunk(name))
    sample = live_input(model, batch=1)
    blocks = [n for n, m in model.named_modules() if hasattr(m, "num_heads") and hasattr(m, "q")]
    ends = {block: next(last for last in LAST if has(model, f"{block}.{last}")) for block in blocks}
    parts = [f"{block}.{part}" for block in blocks for part in ("q", "k", "v")]
    seen = outputs_of(
        model,
        sample,
        [name for name in parts if has(model, name)] + [f"{b}.{last}" for b, last in ends.items()],
    )
    maps = {(one.name, one.place): one.rates for one in firing_maps(model, sample)}
    assert list(maps) == [(block, place) for block in blocks for place in ("value", "output")]
    for block, last in ends.items():
        value = seen[f"{block}.v"] if has(model, f"{block}.v") else seen[f"{block}.k"]
        torch.testing.assert_close(maps[block, "value"], value[:, 0].double().mean(1))
        # the CIFAR10-DVS form mixes channels and positions: its output has no such short formula
        if not getattr(model.get_submodule(block), "pooled", False):
            left = left_by(model, block, last, seen)
            torch.testing.assert_close(maps[block, "output"], left[:, 0].double().mean(1))
    assert max(rates.max() for rates in maps.values()) > 0


@pytest.mark.parametrize("change", [sd.fuse, sd.expand])
def test_maps_of_folded_and_binary_networks(change):
    model = live_model(
        "e_spikeformer_3m", **{**shrunk("e_spikeformer_3m"), "depths": (1, 0, 0, 1, 0)}
    )
    sample = live_input(model, batch=1)
    plain = firing_maps(model, sample)
    changed = firing_maps(change(model, sample, check=False), sample)
    assert [one.label for one in changed] == [one.label for one in plain]
    for before, after in zip(plain, changed, strict=True):
        assert len(after.rates) in (len(before.rates), 4 * len(before.rates))
        # norm 4: n / 4 is the mean of four binary steps
        assert float(after.rates.mean()) == pytest.approx(float(before.rates.mean()), abs=1e-12)


def test_maps_of_neurons_and_of_a_users_own_network():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fire, self.late = nn.Conv2d(1, 3, 3), LIF(), LIF()

        def forward(self, x):
            spikes = self.fire(self.conv(x).unsqueeze(0).repeat(2, 1, 1, 1, 1))
            return self.late(spikes.mean((-2, -1))).mean(0)

    model = Own()
    maps = firing_maps(model, torch.randn(1, 1, 6, 6) * 9, ["neurons"])
    assert [(one.label, one.rates.shape) for one in maps] == [("fire", (2, 4, 4))]
    with pytest.raises(InputError, match="no attention block"):
        firing_maps(model, torch.randn(1, 1, 6, 6))
    with pytest.raises(InputError, match="expected one sample"):
        firing_maps(model, torch.randn(2, 1, 6, 6), ["neurons"])
    assert not model.fire._forward_hooks


def test_overlay_leaves_silent_places_grey_and_colours_the_others():
    red = np.full((8, 8, 3), (200, 60, 40), np.uint8)
    rates = torch.tensor([[0.0, 0.1], [0.2, 0.4]])
    shown = overlay(red, rates, 0.4).astype(int)
    assert np.ptp(shown[0, 0]) < 5  # no colour
    assert shown[7, 7].sum() > shown[7, 0].sum() > shown[0, 7].sum() > shown[0, 0].sum()
    assert (overlay(red, torch.zeros(2, 2), 0.0) == shown[0, 0]).all()


def test_picture_undoes_the_normalisation():
    pixels = torch.tensor([[[0.0, 64.0], [128.0, 255.0]]]) / 255
    shown = picture((pixels - 0.3) / 0.5, (0.3,), (0.5,))
    assert shown.shape == (2, 2, 3) and shown[..., 0].tolist() == [[0, 64], [128, 255]]


def test_figure_has_a_row_a_map_and_a_column_a_step(grey):
    def size(rows: int, steps: int) -> tuple[int, int]:
        maps = [FiringMap(f"block {i}", "value", torch.rand(steps, 4, 4)) for i in range(rows)]
        return Image.open(io.BytesIO(attention_figure(grey, maps, "a title"))).size

    small = size(1, 2)
    assert size(2, 2)[1] - small[1] == size(1, 3)[0] - small[0] == 125


def test_command_on_a_run(run, picture_file, tmp_path, capsys, monkeypatch):
    titles = []
    draw = cli_attention.attention_figure
    monkeypatch.setattr(
        cli_attention, "attention_figure", lambda *a: titles.append(a[2]) or draw(*a)
    )
    out = tmp_path / "maps.png"
    assert main(["attention", str(run), str(picture_file), "--out", str(out), "--json"]) == 0
    maps = json.loads(capsys.readouterr().out)
    assert [one["place"] for one in maps] == ["value", "output"] and np.shape(maps[0]["rates"]) == (
        2,
        4,
        4,
    )
    assert out.read_bytes().startswith(b"\x89PNG") and "RANDOM" not in titles[0]
    words = [
        "attention",
        "spikingformer_4_256_cifar",
        str(picture_file),
        "--out",
        str(out),
        "--time-steps",
        "2",
    ]
    assert main([*words, "--maps", "neurons", "--rows", "3"]) == 0
    assert "RANDOM WEIGHTS" in titles[1] and "Last 3 of" in titles[1]
    assert "3 of" in capsys.readouterr().out


def test_event_frames_come_from_an_array(tmp_path, capsys):
    frames = np.random.default_rng(0).poisson(0.5, (3, 2, 32, 32))
    np.save(tmp_path / "frames.npy", frames)
    words = [
        "attention",
        "sdt_2_256_gesture",
        str(tmp_path / "frames.npy"),
        "--out",
        str(tmp_path / "maps.png"),
    ]
    assert main([*words, "--json"]) == 0
    assert np.shape(json.loads(capsys.readouterr().out)[0]["rates"])[0] == 3


def test_what_cannot_be_shown_is_one_message(tmp_path, picture_file, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for words, message in (
        (["sdt_2_256_cifar", str(broken)], "cannot be read as an image"),
        (["sdt_2_256_cifar", str(tmp_path / "none.png")], "cannot be read as an image"),
        (["sdt_2_256_gesture", str(picture_file)], "give a .npy file"),
        (["sdt_2_256_cifar", str(picture_file), "--rows", "-1"], "expected 0 (all) or more"),
        (
            ["sdt_2_256_cifar", str(picture_file), "--out", str(broken / "x.png")],
            "cannot be written",
        ),
    ):
        assert main(["attention", *words]) == 2
        assert message in capsys.readouterr().err
    np.save(tmp_path / "flat.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"expected numbers \[T, 2, H, W\]"):
        read_frames(tmp_path / "flat.npy", 2)
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match="cannot be read as a"):
        read_frames(tmp_path / "text.npy", 2)
