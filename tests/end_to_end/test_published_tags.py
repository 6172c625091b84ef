"""Every large published classifier: an imitation of its file goes through `eval`, `energy`,
`convert` and back.

The imitation is our own network with the rule's weights, under the authors' key names and in their
container. The data are a few generated samples in the layout of the tag's set; inputs are small
where the network allows it. The labels of images are what the network says of them, so that another
one is wrong about them.
"""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

import spikedriven as sd
from spikedriven.bench.rule import load_rule
from spikedriven.cli import energy as cli_energy
from spikedriven.cli import eval as cli_eval
from spikedriven.cli import main
from spikedriven.data import build_eval_loader, imagenet
from spikedriven.models import official_state_dict
from spikedriven.models.tags import find_file, list_files
from spikedriven.runs.target import LabelledTarget, Loaded, data_config, load_target
from tests.data.conftest import photo
from tests.data.events.sets import write_cifar10_dvs, write_gesture, write_har

SETS = ("imagenet", "har-dvs", "dvs128-gesture", "cifar10-dvs")
LARGE = [f.full_name for f in list_files() if f.task == "classification" and f.dataset in SETS]
#: Keywords that no shape tells -> another value that fits the same shapes.
OTHER = {
    "levels": {4: 8, 8: 4},
    "time_steps": {1: 2, 4: 1, 8: 4, 10: 4, 16: 4},
    "num_heads": {8: 4, 16: 8},
}
COUNT = 4

pytestmark = pytest.mark.slow  # half a minute each, and some gigabytes


class First:
    """The first batch of a loader."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return itertools.islice(self.loader, 1)


def first(*args: Any, **options: Any) -> First:
    return First(build_eval_loader(*args, **options))


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("events")
    write_cifar10_dvs(root, events=2000)
    write_gesture(root, (1, 1), events=2000)
    write_har(root, (1, 1), frames=8, classes=300)
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A thousand classes, and four images in the first of them."""
    root = tmp_path / "imagenet"
    for part, label in itertools.product(("train", "val"), range(1000)):
        (root / part / f"{label:04}").mkdir(parents=True)
    for number in range(COUNT):
        photo(number, (96, 80)).save(root / "val" / "0000" / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (cli_eval, cli_energy):
        monkeypatch.setattr(command, "build_eval_loader", first)
    monkeypatch.setattr(imagenet, "ImageFolder", partial(ImageFolder, allow_empty=True))


def variants(full_name: str, side: int) -> Iterator[tuple[list[str], nn.Module]]:
    """(options, network) of a tag: as it is, then with each keyword that no shape tells in
    another value.
    """
    args = find_file(full_name).args
    model = sd.create_model(full_name, img_size=side).eval()
    load_rule(model, full_name)
    yield [], model
    for key in OTHER.keys() & args.keys():
        value = OTHER[key][args[key]]
        other = sd.create_model(full_name, img_size=side, **{key: value}).eval()
        other.load_state_dict(model.state_dict())
        yield [f"--model.args.{key}", str(value)], other


def name_by_prediction(root: Path, model: nn.Module, x: Tensor) -> None:
    """Move each image to the class that a network sees in it."""
    for number, label in enumerate(logits(model, x).argmax(1).tolist()):
        path = root / "val" / "0000" / f"{number}.png"
        path.rename(root / "val" / f"{label:04}" / path.name)


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """[B, classes], whether the network puts out its mean over time or each step."""
    with torch.no_grad():
        found = model(x)
    return found.mean(0) if found.ndim == 3 else found


def batch(
    full_name: str, model: nn.Module, root: Path, order: str | None = None
) -> tuple[Tensor, Tensor]:
    data = data_config(
        Loaded(model, True, None, full_name), LabelledTarget(full_name, class_order=order), "", root
    )
    x, labels = next(iter(build_eval_loader(data, split="test", batch_size=COUNT)))
    return x, labels


@pytest.mark.parametrize("full_name", LARGE)
def test_a_published_file_goes_through_the_commands(full_name, events, images, tmp_path, capsys):
    file = find_file(full_name)
    still = file.dataset == "imagenet"
    root, side = (
        (images, 64) if still else (events, 64 if file.dataset == "har-dvs" else file.input_size[1])
    )
    networks = list(variants(full_name, side))
    model = networks[0][1]
    theirs = official_state_dict(model)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(
        {"epoch": 199, "state_dict": {f"module.{key}": value for key, value in theirs.items()}},
        path,
    )
    if still:
        name_by_prediction(images, model, batch(full_name, model, root)[0])

    samples = ["--root", str(root), "--img-size", str(side)]
    outputs = []
    for options, network in networks:
        words = [
            full_name,
            "--checkpoint",
            str(path),
            *samples,
            "--batch-size",
            str(COUNT),
            *options,
        ]
        assert main(["eval", *words, "--json"]) == 0
        top1 = json.loads(capsys.readouterr().out)["top1"]
        x, labels = batch(full_name, network, root)
        outputs.append(logits(network, x))
        assert top1 == pytest.approx(100 * (outputs[-1].argmax(1) == labels).double().mean().item())
        assert not still or options or top1 == 100
    assert len(networks) > 1 and not any(torch.equal(outputs[0], other) for other in outputs[1:])

    out = tmp_path / "ours.safetensors"
    assert main(["convert", full_name, str(path), str(out)]) == 0
    capsys.readouterr()
    found = []
    for words in ([full_name, "--checkpoint", str(path)], [file.name, "--checkpoint", str(out)]):
        assert (
            main(["energy", *words, "--data", file.dataset, *samples, "--images", "1", "--json"])
            == 0
        )
        found.append(json.loads(capsys.readouterr().out)["reports"])
    assert found[0] == found[1]
    again = load_target(LabelledTarget(file.name, checkpoint=out, img_size=side))
    back = official_state_dict(again.model)
    assert again.full_name == full_name and back.keys() == theirs.keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.items())


@pytest.mark.parametrize("full_name", [name for name in LARGE if find_file(name).class_order])
def test_another_order_of_classes_gives_another_figure(full_name, events):
    """The labels of a tag are those of the releases, which sort the class folders as text."""
    with torch.device("meta"):
        model = sd.create_model(full_name)
    labels = [
        torch.cat(
            [
                labels
                for _, labels in build_eval_loader(
                    data_config(*of_order(full_name, model, events, order))
                )
            ]
        )
        for order in (None, "as_text", "by_number")
    ]
    assert torch.equal(labels[0], labels[1])
    assert (labels[1] == labels[2]).sum() == 2


def of_order(full_name: str, model: nn.Module, root: Path, order: Any) -> tuple[Any, ...]:
    return (
        Loaded(model, True, None, full_name),
        LabelledTarget(full_name, class_order=order),
        "",
        root,
    )
