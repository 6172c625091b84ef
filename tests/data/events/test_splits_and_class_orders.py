"""Which recordings are for testing, and which output is which class: what the releases do, and what
a user may say instead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import DatasetFolder

from spikedriven.data import (
    EventDataConfig,
    build_eval_loader,
    chosen_labels,
    config_for,
    create_dataset,
    find_set,
)
from spikedriven.data.events import read_events
from spikedriven.data.events.cifar10_dvs import CLASSES
from spikedriven.data.events.dvs128_gesture import CLASSES as GESTURES
from spikedriven.data.events.dvs128_gesture import ORDERS
from spikedriven.data.sections import described, evaluation_config
from spikedriven.errors import DataError, InputError, RecipeError
from spikedriven.runs.distributed import World
from spikedriven.tasks.classification import measure_accuracy
from tests.data.events.sets import GESTURE_US, write_cifar10_dvs, write_gesture
from tests.data.events.written import write_aedat31


def config(dataset: str, root: Path, **changes) -> EventDataConfig:
    return config_for(dataset, root=root, **{"time_steps": 4, "cache": False} | changes)


def cut_gestures(root: Path, folder: Path) -> None:
    """The tree that SpikingJelly makes: events_np/{train,test}/K/NAME_0.npz."""
    for split in ("train", "test"):
        for path in sorted(folder.glob(f"*_{split}.aedat")):
            events = read_events(path)
            for gesture in range(11):
                part = events.between(gesture * GESTURE_US, (gesture + 1) * GESTURE_US)
                file = (
                    root
                    / "DVSGesturedataset"
                    / "events_np"
                    / split
                    / str(gesture)
                    / f"{path.stem}_0.npz"
                )
                file.parent.mkdir(parents=True, exist_ok=True)
                np.savez(file, t=part.t, x=part.x, y=part.y, p=part.p)


# DVS128 Gesture: the order of the classes ---------------------------------------------------------


def test_the_order_as_text_is_that_of_a_dataset_folder(tmp_path: Path):
    for gesture in range(11):
        (tmp_path / str(gesture)).mkdir()
        (tmp_path / str(gesture) / "a.npz").touch()
    theirs = DatasetFolder(str(tmp_path), lambda path: path, (".npz",)).class_to_idx
    assert {str(gesture): k for k, gesture in enumerate(ORDERS["as_text"])} == theirs
    assert ORDERS["as_text"][:4] == (0, 1, 10, 2)
    agree = sum(a == b for a, b in zip(ORDERS["as_text"], ORDERS["by_number"], strict=True))
    assert agree == 2, "9 of 11 labels of an authors' file are others by number"


class AuthorsClassifier(torch.nn.Module):
    """Right about every clip of `telling_gestures`, its outputs in the order of the releases."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        gestures = clips.sum((1, 2, 3)).argmax(1)  # the column in which the events are
        outputs = torch.tensor([ORDERS["as_text"].index(int(gesture)) for gesture in gestures])
        return torch.nn.functional.one_hot(outputs, 11).float()


def telling_gestures(root: Path) -> None:
    """One recording in each list; the events of gesture k, from 0, are in column k."""
    folder = write_gesture(root, users=(1, 1), events=1)
    for split in ("train", "test"):
        events = [(k * GESTURE_US + n, k, n, 1) for k in range(11) for n in range(8)]
        write_aedat31(folder / f"user00_{split}.aedat", events)


@pytest.mark.parametrize(("order", "right"), [("as_text", 11), ("by_number", 2)])
def test_a_file_of_the_authors_is_right_in_their_order_only(order: str, right: int, tmp_path: Path):
    telling_gestures(tmp_path)
    cfg = config("dvs128-gesture", tmp_path, class_order=order, workers=0)
    world = World(0, 1, torch.device("cpu"))
    found = measure_accuracy(AuthorsClassifier(), build_eval_loader(cfg, batch_size=4), 11, world)
    assert (found.count, int(found.confusion.trace())) == (11, right)


@pytest.mark.parametrize("cut", [False, True])
def test_labels_and_names_follow_the_order(cut: bool, tmp_path: Path):
    folder = write_gesture(tmp_path, users=(2, 1), events=8)
    if cut:
        cut_gestures(tmp_path, folder)
        folder.rename(tmp_path / "elsewhere")
    by_number, as_text = (
        create_dataset(config("dvs128-gesture", tmp_path, class_order=order), "train")
        for order in ("by_number", "as_text")
    )
    assert by_number.classes == GESTURES
    assert as_text.classes[:4] == (GESTURES[0], GESTURES[1], GESTURES[10], GESTURES[2])
    assert len(as_text) == len(by_number) == 22
    for index in range(22):
        here, there = by_number.targets[index], as_text.targets[index]
        assert by_number.where(index) == as_text.where(index)
        assert by_number.classes[here] == as_text.classes[there] == GESTURES[int(here)]
    assert sorted(as_text.targets.tolist()) == sorted(list(range(11)) * 2)


def test_spikingjellys_cut_gestures_give_the_same_frames(tmp_path: Path):
    folder = write_gesture(tmp_path, users=(2, 1), events=40)
    raw = create_dataset(config("dvs128-gesture", tmp_path), "train")
    wanted = {
        (Path(raw.where(i).partition(",")[0]).stem, int(raw.targets[i])): raw[i][0]
        for i in range(22)
    }
    cut_gestures(tmp_path, folder)
    folder.rename(tmp_path / "elsewhere")
    cut = create_dataset(config("dvs128-gesture", tmp_path), "train")
    for i in range(22):
        name = Path(cut.where(i)).stem.removesuffix("_0")
        assert torch.equal(cut[i][0], wanted.pop((name, int(cut.targets[i]))))
    assert not wanted
    (tmp_path / "DVSGesturedataset/events_np/train/3/user00_train_0.npz").unlink()
    (tmp_path / "DVSGesturedataset/events_np/train/3/user01_train_0.npz").unlink()
    with pytest.raises(
        DataError, match=r"train/3: expected the \.npz files of a gesture, found none"
    ):
        create_dataset(config("dvs128-gesture", tmp_path), "train")


def test_the_tree_of_the_readme_prefers_the_recordings(tmp_path: Path):
    folder = write_gesture(tmp_path, users=(1, 1), events=5)
    cut_gestures(tmp_path, folder)
    place = tmp_path / "DVSGesturedataset" / "extract" / "DvsGesture"
    place.parent.mkdir()
    folder.rename(place)
    assert find_set("dvs128-gesture").locate(tmp_path) == place


# CIFAR10-DVS: the split ---------------------------------------------------------------------------


def test_a_split_of_ones_own(tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=3, events=2)
    names = [f"{name}/cifar10_{name}_1" for name in CLASSES[1:]]
    split = tmp_path / "mine.txt"
    split.write_text("# test recordings\n\ncifar10_airplane_2.aedat\n" + "\n".join(names) + "\n")
    cfg = config("cifar10-dvs", tmp_path, split=str(split))
    train, test = (create_dataset(cfg, part) for part in ("train", "test"))
    found = [Path(test.where(i)).stem for i in range(len(test))]
    assert found == ["cifar10_airplane_2", *(name.partition("/")[2] for name in names)]
    assert len(train) == 20 and not {train.where(i) for i in range(20)} & {
        test.where(i) for i in range(10)
    }
    assert described(cfg) == f"cifar10-dvs (split {split})"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "cat/cifar10_dog_0",
            "line 1: expected CLASS/NAME of one recording, found 'cat/cifar10_dog_0': none",
        ),
        ("#\ncifar10_cat_0\ncat/cifar10_cat_0.aedat", "line 3: .* was named before, in .*line 2"),
        ("", r"no recording is in the test part of data\.split"),
    ],
)
def test_a_list_that_does_not_fit(lines: str, message: str, tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=1, events=1)
    split = tmp_path / "mine.txt"
    split.write_text(lines)
    with pytest.raises(DataError, match=message):
        create_dataset(config("cifar10-dvs", tmp_path, split=str(split)), "test")


def test_a_list_that_is_missing(tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=1, events=1)
    with pytest.raises(DataError, match=r"mine\.txt cannot be read as a text file"):
        create_dataset(config("cifar10-dvs", tmp_path, split=str(tmp_path / "mine.txt")), "test")


# what is asked for, and what is said --------------------------------------------------------------


def test_what_no_weights_tell_is_asked_for():
    with pytest.raises(
        InputError, match=r"cifar10-dvs has no official split.*--data-split authors"
    ):
        chosen_labels("cifar10-dvs", None, None)
    with pytest.raises(
        InputError, match=r"dvs128-gesture is used with two orders.*--class-order as_text"
    ):
        chosen_labels("dvs128-gesture", None, "")
    assert chosen_labels("cifar10-dvs", "authors", "") == {"split": "authors"}
    assert chosen_labels("dvs128-gesture", "", "as_text") == {"class_order": "as_text"}
    assert chosen_labels("imagenet", None, None) == chosen_labels("har-dvs", "", "") == {}
    with pytest.raises(InputError, match="class_order as_text: imagenet has only one"):
        chosen_labels("imagenet", None, "as_text")


def test_what_was_chosen_reaches_the_data_and_is_said():
    common = {
        "root": None,
        "img_size": 64,
        "in_chans": 2,
        "time_steps": 4,
        "crop_pct": 1.0,
        "workers": 0,
    }
    cfg = evaluation_config("dvs128-gesture", **common, chosen={"class_order": "as_text"})
    assert cfg.class_order == "as_text" and described(cfg) == "dvs128-gesture (classes as_text)"
    cfg = evaluation_config("cifar10-dvs", **common, chosen={"split": "authors"})
    assert cfg.split == "authors" and described(cfg) == "cifar10-dvs (split authors)"
    assert (
        described(evaluation_config("fashion-events", **common))
        == "fashion-events (simulated, garment)"
    )


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        (
            "cifar10-dvs",
            {"split": "author"},
            "split: found 'author', expected seeded, authors or a text file",
        ),
        ("har-dvs", {"split": "mine.txt"}, "split: an option of cifar10-dvs, not of har-dvs"),
        (
            "cifar10-dvs",
            {"class_order": "as_text"},
            "class_order: an option of dvs128-gesture, not of cifar10-dvs",
        ),
        (
            "dvs128-gesture",
            {"class_order": "text"},
            "class_order: found 'text', expected one of by_number, as_text",
        ),
    ],
)
def test_choices_that_a_set_has_not(dataset: str, changes: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        config_for(dataset, **changes)
