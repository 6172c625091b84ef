"""Single unreadable files: replaced, counted and reported in training; an error everywhere else."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch

from spikedriven.data import DataConfig, batches, build_eval_loader, build_train_loader
from spikedriven.errors import DataError
from tests.data.conftest import ImageFolderMaker, truncate

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def root(image_folder: ImageFolderMaker) -> Path:
    """Two classes of 6 train images; in training, images 2 and 3 (ant) and 11 (the last bee)
    are cut off.
    """
    root = image_folder()
    for name in ("ant/2", "ant/3", "bee/5"):
        truncate(root / "train" / f"{name}.jpg")
    return root


def config(root: Path, workers: int = 0, **changes) -> DataConfig:
    plain = DataConfig(
        dataset="imagenet", root=root, img_size=16, in_chans=3, workers=workers, hflip=0.0
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_replaces_counts_and_reports_once(
    root: Path, workers: int, caplog: pytest.LogCaptureFixture
):
    train = build_train_loader(config(root, workers), batch_size=12, seed=0)
    with caplog.at_level(logging.WARNING, logger="spikedriven"):
        for epoch in range(3):
            images, labels = next(train.epoch(epoch))
            # 2 and 3 become 4, 11 becomes 0 (an ant): ants 7, bees 5; 9 different pictures
            assert labels.bincount().tolist() == [7, 5]
            assert len({image.numpy().tobytes() for image in images}) == 9
            assert train.broken_count == 4 * (epoch + 1)  # sample 2 stumbles over 2 and 3
    names = {str(root / "train" / f"{name}.jpg") for name in ("ant/2", "ant/3", "bee/5")}
    assert train.broken_files == names
    assert len(caplog.messages) == 3
    assert all(any(name in message for message in caplog.messages) for name in names)
    train.close()


def test_replacement_does_not_depend_on_workers_or_start(root: Path):
    runs = [
        list(build_train_loader(config(root, workers), batch_size=2, seed=3).epoch(1, start))[
            2 - start :
        ]
        for workers, start in ((0, 0), (2, 0), (0, 2))
    ]
    for other in runs[1:]:
        assert all(
            torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
            for a, b in zip(runs[0], other, strict=True)
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_training_stops_when_asked_to(root: Path, workers: int):
    train = build_train_loader(config(root, workers, skip_broken=False), batch_size=12, seed=0)
    with pytest.raises(DataError) as caught:
        next(train.epoch(0))
    assert str(caught.value).startswith(str(root / "train"))
    assert "cannot be read as an image" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    train.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_always_stops(root: Path, workers: int):
    path = root / "val" / "bee" / "1.jpg"
    truncate(path)
    batches_of_test = iter(build_eval_loader(config(root, workers), batch_size=4))
    next(batches_of_test)
    with pytest.raises(DataError, match=f"^{path} cannot be read as an image") as caught:
        list(batches_of_test)
    assert "Traceback" not in str(caught.value)


def test_a_broken_disk_is_not_a_broken_image(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "LONGEST_BROKEN_RUN", 2)
    train = build_train_loader(config(root), batch_size=12, seed=0)
    with pytest.raises(
        DataError, match=r"2 samples in a row cannot be read, the last: .*ant/3\.jpg"
    ):
        next(train.epoch(0))


def test_nothing_readable(root: Path):
    for path in (root / "train").glob("*/*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="12 samples in a row cannot be read"):
        next(build_train_loader(config(root), batch_size=4, seed=0).epoch(0))
