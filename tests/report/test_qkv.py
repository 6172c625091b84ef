"""The spikes of Q, K and V as arrays: what the neurons put out, of every family, and the file
of the command.
"""

import io

import numpy as np
import pytest
import torch
from torch import nn

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.errors import InputError
from spikedriven.neurons import IntegerNeuron
from spikedriven.report.qkv import PARTS, npz_bytes, qkv_spikes
from tests.networks import live_input, live_model, shrunk


@pytest.mark.parametrize(
    "name",
    [
        "sdt_2_256_cifar10dvs",
        "spikformer_4_384_cifar",
        "qkformer_4_384_cifar",
        "e_spikeformer_3m",
    ],
)
def test_arrays_are_what_the_layers_hand_on(name: str) -> None:
    model = live_model(name, **shrunk(name))
    sample = live_input(model, batch=1)
    blocks = [
        path
        for path, module in model.named_modules()
        if hasattr(module, "q") and hasattr(module, "k")
    ]
    seen: dict[str, torch.Tensor] = {}
    for block in blocks:
        for part in (part for part in PARTS if hasattr(model.get_submodule(block), part)):
            key = f"{block}.{part}"
            model.get_submodule(key).register_forward_hook(
                lambda _m, _i, output, key=key: seen.__setitem__(key, output[:, 0])
            )
    found = qkv_spikes(model, sample)
    assert blocks and list(found) == [*seen, *(f"{block}.num_heads" for block in blocks)]
    for key, output in seen.items():
        neuron = model.get_submodule(f"{key}.neuron")
        norm = neuron.norm if isinstance(neuron, IntegerNeuron) else 1.0
        assert found[key].dtype == np.uint8 and found[key].shape == tuple(output.shape)
        assert np.array_equal(found[key] / norm, output.numpy())
    assert max(array.max() for key, array in found.items() if key[-2:] in (".q", ".k", ".v")) >= 1
    assert all(
        found[f"{block}.num_heads"] == model.get_submodule(block).num_heads for block in blocks
    )


def test_counts_are_the_sum_of_the_expanded_networks_steps() -> None:
    model = live_model(
        "e_spikeformer_3m", **{**shrunk("e_spikeformer_3m"), "depths": (1, 0, 0, 1, 0)}
    )
    sample = live_input(model, batch=1)
    counts, steps = (
        qkv_spikes(model, sample),
        qkv_spikes(sd.expand(model, sample, check=False), sample),
    )
    assert list(counts) == list(steps)
    for key in counts:
        if not key.endswith("num_heads"):
            assert steps[key].shape[0] == 4 * counts[key].shape[0] and steps[key].max() <= 1
            assert np.array_equal(
                steps[key].reshape(-1, 4, *counts[key].shape[1:]).sum(1), counts[key]
            )


def test_what_has_no_attention_or_too_many_levels() -> None:
    with pytest.raises(InputError, match="no attention block"):
        qkv_spikes(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8))
    model = live_model("e_spikeformer_3m", **{**shrunk("e_spikeformer_3m"), "levels": 256})
    with pytest.raises(InputError, match="counts up to 256"):
        qkv_spikes(model, live_input(model, batch=1))
    with pytest.raises(InputError, match="expected one sample"):
        qkv_spikes(model, live_input(model, batch=2))


def test_the_file_is_compressed_and_plain() -> None:
    array = np.zeros((4, 64, 32, 32), np.uint8)
    content = npz_bytes({"blocks.0.q": array})
    assert len(content) < array.nbytes / 50
    with np.load(io.BytesIO(content), allow_pickle=False) as read:
        assert np.array_equal(read["blocks.0.q"], array)


def test_the_command_writes_it(run, picture_file, tmp_path, capsys) -> None:
    out, figure = tmp_path / "sub" / "qkv.npz", tmp_path / "maps.png"
    words = ["attention", str(run), str(picture_file), "--out", str(figure)]
    assert main([*words, "--save-qkv", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    with np.load(out) as read:
        assert set(read) == {f"blocks.0.attn.{part}" for part in (*PARTS, "num_heads")}
        assert read["blocks.0.attn.q"].shape == (2, 32, 4, 4)
    figure.unlink()
    assert main([*words, "--save-qkv", str(picture_file / "x.npz")]) == 2
    assert "another file with --save-qkv" in capsys.readouterr().err
