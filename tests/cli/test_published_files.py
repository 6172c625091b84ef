"""Files that look like the authors' go through the commands: read, evaluated, converted and back.

Their values follow the rule of the golden figures, under the authors' names. The networks are the
smaller ones of each family, on small inputs; tests/runs/test_identify.py has every published file
by its shapes.
"""

import itertools
import json
import types

import pytest
import safetensors.torch
import torch

import spikedriven as sd
from spikedriven.bench.rule import load_rule
from spikedriven.cli import eval as cli_eval
from spikedriven.cli import main
from spikedriven.data import DataConfig, EventDataConfig
from spikedriven.layers import SpikingSelfAttention
from spikedriven.models import official_state_dict
from spikedriven.neurons import IntegerNeuron
from spikedriven.runs.target import LabelledTarget, Loaded, Target, data_config, load_target

#: Tag -> keywords that would be wrong for its file, and that its shapes do not exclude.
SMALL = {
    "sdt_2_256_cifar.cifar100": {"time_steps": 1},
    "spikingformer_4_384_cifar.cifar100_400e": {"num_heads": 12},
    "e_spikeformer_5m.in1k_1x4": {"levels": 8},
    "e_spikeformer_gesture_6m.gesture_t8_d4": {"levels": 8},
    "meta_spikeformer_15m.in1k_t4": {"time_steps": 1},
    "spikingformer_2_256_dvs.cifar10dvs_t10": {"num_heads": 8},
}


def truth(full_name, **keywords):
    """The network of a tag on small inputs, with the rule's weights."""
    model = sd.create_model(full_name, **{"img_size": 32, **keywords})
    load_rule(model, full_name)
    return model.eval()


def images(model, count=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(model.example_input(count).shape, generator=generator)


@pytest.fixture(scope="module", params=SMALL)
def published(request, tmp_path_factory):
    """(tag, its network, a file of the network as the authors pack theirs)."""
    model = truth(request.param)
    path = tmp_path_factory.mktemp("authors") / "checkpoint.pth.tar"
    state = {f"module.{key}": value for key, value in official_state_dict(model).items()}
    torch.save({"epoch": 299, "arch": "theirs", "state_dict": state}, path)
    return request.param, model, path


def test_a_tag_reads_its_file_and_what_convert_makes_of_it(published, tmp_path, capsys):
    full_name, model, path = published
    name, x = full_name.partition(".")[0], images(model)
    with torch.no_grad():
        expected = model(x)
        wrong = truth(full_name, **SMALL[full_name])(x)
    assert not torch.equal(wrong, expected), "what the shapes do not tell changes what is computed"
    loaded = load_target(Target(full_name, checkpoint=path, img_size=32))
    assert loaded.trained and torch.equal(loaded.model(x), expected)

    out = tmp_path / "ours.safetensors"
    assert main(["convert", full_name, str(path), str(out)]) == 0
    assert capsys.readouterr().out.startswith(
        f"{len(model.state_dict())} tensors loaded from {path}"
    )
    again = load_target(Target(name, checkpoint=out, img_size=32))  # the header says the rest
    assert again.full_name == full_name and torch.equal(again.model(x), expected)
    back = official_state_dict(again.model)
    theirs = torch.load(path, weights_only=True)["state_dict"]
    assert back.keys() == {key.removeprefix("module.") for key in theirs}
    assert all(
        torch.equal(back[key.removeprefix("module.")], value) for key, value in theirs.items()
    )


def test_a_safetensors_file_with_the_authors_names(published, tmp_path):
    full_name, model, _ = published
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in official_state_dict(model).items()}, path
    )
    loaded = load_target(Target(full_name, checkpoint=path, img_size=32))
    assert torch.equal(loaded.model(images(model)), model(images(model)))
    assert loaded.report.spelling == "authors"


def test_a_bare_name_asks(published):
    full_name, _, path = published
    name = full_name.partition(".")[0]
    untold = next(iter(SMALL[full_name]))
    with pytest.raises(sd.errors.InputError, match=rf"do not tell .*{untold}") as error:
        load_target(Target(name, checkpoint=path))
    assert full_name in str(error.value)


# Every command
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The weights that ship, as a file that says nothing of itself."""
    model = sd.create_model("e_spikeformer_fashion", pretrained=True)
    path = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    return path


COMMANDS = {
    "eval": ["--data", "fashion-mini"],
    "energy": [],
    "audit": [],
    "attention": ["shoe.png"],
    "report": [],
    "predict": ["shoe.png"],
    "compile": ["--out", "x.sdp"],
    "export": ["x.onnx"],
    "stream": ["--file", "x.npz", "--data", "fashion-events"],
    "bench engine": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_asks_for_levels(command, plain, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = (
        ["--models", "e_spikeformer_fashion"]
        if command == "bench engine"
        else ["e_spikeformer_fashion"]
    )
    rest = ["x.npz", "--data", "fashion-events"] if command == "stream" else COMMANDS[command]
    assert main([*command.split(), *name, *rest, "--checkpoint", str(plain)]) == 2
    assert "do not tell levels of e_spikeformer_fashion" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_convert_asks_too(plain, capsys, tmp_path):
    assert (
        main(["convert", "e_spikeformer_fashion", str(plain), str(tmp_path / "x.safetensors")]) == 2
    )
    assert "do not tell levels" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("levels", [4, 8])
def test_commands_take_the_answer(levels, plain, capsys):
    words = ["e_spikeformer_fashion", "--checkpoint", str(plain), f"--model.args.levels={levels}"]
    assert main(["audit", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["energy", *words, "--data", "fashion-mini", "--images", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    loaded = load_target(
        Target("e_spikeformer_fashion", checkpoint=plain, model_args={"levels": levels})
    )
    assert {m.levels for m in loaded.model.modules() if isinstance(m, IntegerNeuron)} == {levels}


def test_other_widths_are_said(tmp_path, caplog):
    model = sd.create_model("sdt_2_256_cifar", embed_dim=32, depth=1)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "own.safetensors")
    loaded = load_target(
        Target("sdt_2_256_cifar", checkpoint=tmp_path / "own.safetensors", time_steps=4)
    )
    assert len(loaded.model.blocks) == 1
    assert (
        "own.safetensors: the file has embed_dim 32, where sdt_2_256_cifar has 256" in caplog.text
    )


def test_weights_that_ship_are_not_evaluated_in_another_network(capsys):
    assert (
        main(
            ["eval", "e_spikeformer_fashion", "--data", "fashion-mini", "--model.args.levels", "4"]
        )
        == 2
    )
    assert "are for the network as it is" in capsys.readouterr().err


def test_short_forms_and_model_args_must_agree(capsys):
    assert (
        main(["audit", "sdt_2_256_cifar", "--time-steps", "2", "--model.args.time_steps", "4"]) == 2
    )
    assert (
        "--time-steps 2 and --model.args.time_steps 4: give one of them" in capsys.readouterr().err
    )
    assert main(["audit", "sdt_2_256_cifar", "--model.args.time_step", "4"]) == 2
    assert "no keyword 'time_step'; did you mean time_steps?" in capsys.readouterr().err
    assert main(["audit", "sdt_2_256_cifar", "--model.args.time_steps"]) == 2
    assert "expected --model.args.KEY VALUE" in capsys.readouterr().err


# Evaluation as the authors did it
# ----------------------------------------------------------------------------------


class TwoImages:
    """Two samples of a set of a hundred classes, for the network of 32 pixels."""

    def __init__(self, data):
        names = [str(i) for i in range(100)]
        self.data, self.dataset = (
            data,
            types.SimpleNamespace(classes=names, several_labels=False, usage=str),
        )

    def __len__(self):
        return 1

    def __iter__(self):
        return itertools.repeat((torch.zeros(2, 3, 32, 32), torch.tensor([1, 2])), 1)


def test_eval_of_a_tag_uses_its_settings_and_prints_them(tmp_path, capsys, monkeypatch):
    model = truth("spikingformer_4_384_cifar.cifar100_400e")
    torch.save(official_state_dict(model), tmp_path / "c100.pth")
    seen = []
    monkeypatch.setattr(
        cli_eval, "build_eval_loader", lambda data, **_: seen.append(data) or TwoImages(data)
    )
    words = [
        "eval",
        "spikingformer_4_384_cifar.cifar100_400e",
        "--checkpoint",
        str(tmp_path / "c100.pth"),
    ]
    assert main([*words, "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert seen[0].dataset == "cifar100" and settings["keywords"]["num_heads"] == 8
    assert settings["samples"]["mean"] == [0.4914, 0.4822, 0.4465]  # those of CIFAR-10
    assert settings["said_by"]["num_heads"] == "the tag spikingformer_4_384_cifar.cifar100_400e"
    assert settings["samples"]["class_order"] == "the data set's own"
    assert (
        main([*words, "--interpolation", "nearest", "--crop", "0.5", "--mean", "0", "0", "0"]) == 0
    )
    assert (seen[1].interpolation, seen[1].crop_pct, seen[1].mean) == (
        "nearest",
        0.5,
        (0.0, 0.0, 0.0),
    )
    shown = capsys.readouterr().out
    assert (
        "num_heads 8 (the tag" in shown
        and "interpolation nearest" in shown
        and "class_order" in shown
    )
    assert main([*words, "--data", "cifar10"]) == 2
    assert "tells 100 classes apart, but cifar10 has 10" in capsys.readouterr().err


def prepared(full_name, target=None, data=""):
    """How `data_config` prepares samples for a tag; the network without memory."""
    with torch.device("meta"):
        model = sd.create_model(full_name)
    loaded = Loaded(model, True, None, full_name)
    return data_config(loaded, target or LabelledTarget(full_name), data, None)


def test_the_288_pixels_of_sdt():
    data = prepared("sdt_8_768.in1k_288")
    assert isinstance(data, DataConfig) and data.dataset == "imagenet"
    assert (data.img_size, data.crop_pct, data.interpolation) == (288, 0.9, "bilinear")
    assert int(data.img_size / data.crop_pct) == 320  # Resize(320), CenterCrop(288)


def test_the_384_pixels_of_e_spikeformer():
    data = prepared("e_spikeformer_171m.mae_in1k_1x8_384")
    assert (data.img_size, data.crop_pct, data.interpolation) == (384, 1.0, "bicubic")


@pytest.mark.parametrize(
    "full_name", ["sdt_2_256_gesture.gesture_t16", "e_spikeformer_gesture_6m.gesture_t8_d4"]
)
def test_gestures_are_in_the_order_of_the_releases(full_name):
    data = prepared(full_name)
    assert isinstance(data, EventDataConfig) and data.class_order == "as_text"
    own = prepared(full_name, LabelledTarget(full_name, class_order="by_number"))
    assert own.class_order == "by_number"
    with pytest.raises(sd.errors.InputError, match="class-order"):
        prepared(full_name.partition(".")[0], data="dvs128-gesture")


@pytest.mark.parametrize(
    ("name", "data", "asked"),
    [
        ("e_spikeformer_gesture_6m", "dvs128-gesture", "Give --class-order as_text"),
        ("e_spikeformer_gesture_6m", "cifar10-dvs", "Give --data-split authors"),
    ],
)
def test_eval_asks_how_labels_are_read(name, data, asked, tmp_path, capsys):
    """Where no tag says it."""
    model = sd.create_model(name)
    torch.save(official_state_dict(model), tmp_path / "own.pth")
    words = [
        "--checkpoint",
        str(tmp_path / "own.pth"),
        "--time-steps",
        "8",
        "--model.args.levels",
        "4",
    ]
    assert main(["eval", name, *words, "--data", data]) == 2
    assert asked in capsys.readouterr().err


def test_cifar10_dvs_is_split_as_in_the_releases():
    assert prepared("spikingformer_2_256_dvs.cifar10dvs_t16").split == "authors"
    assert prepared("sdt_2_256_cifar10dvs.cifar10dvs_t10_tet").time_steps == 10


def test_heads_of_the_network_are_those_of_the_tag():
    with torch.device("meta"):
        model = sd.create_model("spikingformer_4_384_cifar.cifar100_400e")
    assert {m.num_heads for m in model.modules() if isinstance(m, SpikingSelfAttention)} == {8}
