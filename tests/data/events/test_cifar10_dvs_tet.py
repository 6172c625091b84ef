"""The files N.pt of the SDT release: what they hold, what its loader makes of them, what is
refused."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import Resize, ToPILImage, ToTensor

from spikedriven.data import (
    EventDataConfig,
    build_eval_loader,
    build_train_loader,
    config_for,
    create_dataset,
    find_set,
)
from spikedriven.errors import DataError, RecipeError

STEPS = 3


def clip(number: int, side: int = 16) -> torch.Tensor:
    """Frames [2, H, W, T]: mostly empty, otherwise counts and shares."""
    draws = np.random.default_rng(number)
    values = draws.choice([0, 0, 0, 1, 2, 3, 0.5, 0.2], (2, side, side, STEPS))
    return torch.from_numpy(values).float()


def write(root: Path, counts: dict[str, int], **options) -> Path:
    folder = root / "cifar10-dvs-tet"
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        for number in range(count):
            content = (clip(number), torch.tensor([float(number % 10)]))
            torch.save(content, folder / split / f"{number}.pt", **options)
    return folder


def config(root: Path, **changes) -> EventDataConfig:
    return config_for(
        "cifar10-dvs-tet", root=root, **{"time_steps": STEPS, "img_size": 8, "workers": 0} | changes
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_frames_are_those_of_the_release(zipped: bool, tmp_path: Path):
    folder = write(tmp_path, {"train": 12, "test": 2}, _use_new_zipfile_serialization=zipped)
    train, test = (create_dataset(config(tmp_path), part) for part in ("train", "test"))
    assert train.targets.tolist() == [*range(10), 0, 1] and test.targets.tolist() == [0, 1]
    assert [Path(train.where(i)).name for i in range(12)] == [f"{i}.pt" for i in range(12)]
    for index in (0, 11):
        steps = [
            ToTensor()(Resize((8, 8))(ToPILImage()(clip(index)[..., t]))) for t in range(STEPS)
        ]
        frames, label = train[index]
        assert torch.equal(frames, torch.stack(steps)) and frames.max() > 0 and label == index % 10
    assert find_set("cifar10-dvs-tet").locate(tmp_path) == folder
    assert find_set("cifar10-dvs-tet").locate(tmp_path / "nowhere") is None


def test_a_channel_without_the_other_is_lost_on_the_way(tmp_path: Path):
    """What the release does by accident: the second channel weights the first."""
    write(tmp_path, {"train": 1, "test": 1})
    only_first = torch.zeros(2, 16, 16, STEPS)
    only_first[0] = 1
    torch.save((only_first, torch.tensor([3])), tmp_path / "cifar10-dvs-tet/test/0.pt")
    frames, label = create_dataset(config(tmp_path), "test")[0]
    assert label == 3 and frames.sum() == 0
    unresized, _ = create_dataset(config(tmp_path, img_size=16), "test")[0]
    assert unresized[:, 0].min() == 1, "not resized, nothing is weighted"


def test_batches_for_training_and_evaluation(tmp_path: Path):
    write(tmp_path, {"train": 6, "test": 3})
    frames, labels = next(
        iter(build_train_loader(config(tmp_path, roll=1), batch_size=4, seed=0).epoch(0))
    )
    assert frames.shape == (4, STEPS, 2, 8, 8) and labels.dtype == torch.int64
    frames, labels = next(iter(build_eval_loader(config(tmp_path), batch_size=8)))
    assert frames.shape == (3, STEPS, 2, 8, 8) and labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(2), "expected a pair of frames and label, found Tensor"),
        (
            (torch.zeros(2, 4, 4), torch.tensor([1])),
            r"expected frames \[2, H, W, T\], .*found \[2, 4, 4\]",
        ),
        ((torch.zeros(3, 4, 4, STEPS), torch.tensor([1])), r"found \[3, 4, 4, 3\]"),
        (
            (torch.zeros(1).expand(2, 5000, 4, STEPS), torch.tensor([1])),
            r"at most 4096 pixels a side, found \[2, 5000",
        ),
        ((torch.zeros(2, 4, 4, STEPS), torch.tensor([10])), "expected one label from 0 to 9"),
        ((torch.zeros(2, 4, 4, STEPS), torch.tensor([1, 2])), "expected one label from 0 to 9"),
        ((Path("x"), 1), "was refused: it is damaged, or holds more than tensors"),
    ],
)
def test_content_that_is_refused(content: object, message: str, tmp_path: Path):
    folder = write(tmp_path, {"train": 1, "test": 1})
    torch.save(content, folder / "train" / "0.pt")
    with pytest.raises(DataError, match=message):
        create_dataset(config(tmp_path), "train")


def test_files_that_are_no_files_of_pytorch(tmp_path: Path):
    folder = write(tmp_path, {"train": 1, "test": 1})
    whole = (folder / "test" / "0.pt").read_bytes()
    for content in (
        b"",
        b"PK",
        b"hello",
        whole[: len(whole) // 2],
        pickle.dumps({1: 2}, protocol=2),
    ):
        (folder / "train" / "0.pt").write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(folder / "train" / "0.pt"))):
            create_dataset(config(tmp_path), "train")


def test_steps_and_values_that_do_not_fit(tmp_path: Path):
    folder = write(tmp_path, {"train": 1, "test": 1})
    with pytest.raises(DataError, match=r"0\.pt: has 3 steps, and data\.time_steps is 10"):
        create_dataset(config(tmp_path, time_steps=10), "train")[0]
    for value in (-1.0, float("nan")):
        torch.save(
            (torch.full((2, 4, 4, STEPS), value), torch.tensor([1])), folder / "train" / "0.pt"
        )
        with pytest.raises(DataError, match="finite numbers of at least 0"):
            create_dataset(config(tmp_path), "train")[0]
    with pytest.raises(RecipeError, match=r"split_by: an option of .*, not of cifar10-dvs-tet"):
        config(tmp_path, split_by="time")


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"cifar10-dvs-tet was not found: expected .*train/N.pt.*SPIKEDRIVEN_DATA"
    ):
        create_dataset(config(tmp_path), "train")
    write(tmp_path, {"train": 1})
    with pytest.raises(DataError, match=r"test: expected files 0\.pt, 1\.pt, \.\.\., found none"):
        create_dataset(config(tmp_path), "test")
