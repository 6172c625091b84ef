"""Sets in Hugging Face's files, written here by `datasets` itself."""

import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from spikedriven.data import DataConfig, build_eval_loader, build_train_loader, create_dataset, hfds
from spikedriven.errors import DataError, InputError
from tests.data.shards import encoded, picture, write_hfds


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def save(root: Path, features: dict, **columns: list) -> Path:
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(root))
    return root


@pytest.mark.parametrize("parquet", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_images_and_labels_are_those_written(tmp_path: Path, parquet: bool, named: bool):
    root = write_hfds(tmp_path / "hfds", parquet=parquet, named=named)
    train, test = (create_dataset("hfds", split, root=tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (15, 7)
    assert train.classes == (("ant", "bee", "cat") if named else ("0", "1", "2"))
    for index, (image, label) in enumerate(train):
        assert (np.asarray(image).tobytes(), label) == (
            np.asarray(picture(index)).tobytes(),
            index % 3,
        )
    assert train.where(4) == f"{root}, split train, row 4"


def test_several_columns_are_told_and_one_is_named_as_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    features = {
        "img": datasets.Image(),
        "mask": datasets.Image(),
        "coarse": datasets.ClassLabel(names=["animal", "thing"]),
        "fine": datasets.ClassLabel(names=["cat", "dog", "cup"]),
    }
    pictures = [{"bytes": encoded(seed), "path": None} for seed in range(3)]
    save(tmp_path, features, img=pictures, mask=pictures, coarse=[0, 0, 1], fine=[0, 1, 2])
    for split in ("train", "test"):
        assert create_dataset("hfds", split, root=tmp_path).classes == ("animal", "thing")
    assert len(caplog.messages) == 2  # not once more for the second part
    assert "has several image columns: img is taken, not mask" in caplog.messages[0]
    assert "has several label columns: coarse is taken, not fine" in caplog.messages[1]
    assert "set.remove_columns('coarse')" in caplog.messages[1]


@pytest.mark.parametrize("labels", [[0.0, 1.5, 1.0], [0.0, float("inf"), 1.0], [0.0, -1.0, 1.0]])
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path, labels: list[float]):
    features = {"image": datasets.Image(), "label": datasets.Value("float64")}
    save(
        tmp_path,
        features,
        image=[{"bytes": encoded(seed), "path": None} for seed in range(3)],
        label=labels,
    )
    with pytest.raises(
        DataError, match="column label must hold a class number, 0 or more, in every row"
    ):
        create_dataset("hfds", "train", root=tmp_path)


def test_resume_shards_and_evaluation_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hfds, "ROWS_TOGETHER", 4)
    cfg = DataConfig(
        dataset="hfds",
        root=write_hfds(tmp_path),
        img_size=16,
        in_chans=3,
        workers=0,
        val_fraction=0.4,
    )
    train = build_train_loader(cfg, batch_size=2, seed=1)
    whole, late = list(train.epoch(2)), list(train.epoch(2, start_batch=2))
    assert len(whole) == 4 and len(late) == 2
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[2:], late, strict=True))
    assert (
        train._order.sampling.shards.tolist()
        == np.unique(
            create_dataset("hfds", "train", tmp_path, False, 0.4).rows // 4, return_counts=True
        )[1].tolist()
    )
    evaluated = [
        build_eval_loader(cfg, "test", batch_size=2, rank=rank, world_size=4) for rank in range(4)
    ]
    assert sorted(int(i) for loader in evaluated for i in loader.sampler) == list(range(7))


@pytest.mark.parametrize(
    ("path", "message"),
    [("../secret.png", "leads out of"), ("/etc/hostname", "leads out of"), (None, "is empty")],
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, path: str | None, message: str):
    (tmp_path / "secret.png").write_bytes(encoded(1))
    features = {
        "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "label": datasets.Value("int64"),
    }
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": path}], "label": [0]}, datasets.Features(features)
    )
    images = hfds.TableImages(
        tmp_path / "set", "train", table, "image", np.arange(1), np.zeros(1), ("a",)
    )
    with pytest.raises(DataError, match=rf"split train, row 0 .*{message}"):
        images[0]


def test_a_broken_image_is_named(tmp_path: Path):
    image, label = datasets.Image(), datasets.ClassLabel(names=["a"])
    save(
        tmp_path,
        {"image": image, "label": label},
        image=[{"bytes": b"no picture", "path": None}],
        label=[0],
    )
    with pytest.raises(DataError, match=r"split train, row 0 cannot be read as an image"):
        create_dataset("hfds", "train", root=tmp_path)[0]


@pytest.mark.parametrize(
    ("features", "columns", "message"),
    [
        ({"label": datasets.Value("int64")}, {"label": [1]}, "no image column among label"),
        (
            {"image": datasets.Image()},
            {"image": [{"bytes": b"x", "path": None}]},
            "no label column",
        ),
        (
            {"image": datasets.Image(), "label": datasets.Value("int64")},
            {"image": [{"bytes": b"x", "path": None}], "label": [-1]},
            "class number, 0 or more",
        ),
        (
            {"image": datasets.Image(), "label": datasets.Value("string")},
            {"image": [{"bytes": b"x", "path": None}], "label": ["ant"]},
            "class number, 0 or more",
        ),
    ],
)
def test_sets_that_do_not_fit(tmp_path: Path, features: dict, columns: dict, message: str):
    with pytest.raises(DataError, match=f"{tmp_path}, split train: .*{message}"):
        create_dataset("hfds", "train", root=save(tmp_path, features, **columns))


def test_missing_set_split_and_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        DataError, match=r"no set was found: expected what DatasetDict\.save_to_disk writes"
    ):
        create_dataset("hfds", "train", root=tmp_path)
    table = datasets.Dataset.from_dict({"label": [0]})
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "hfds"))
    with pytest.raises(DataError, match="has the splits train; expected one named validation"):
        create_dataset("hfds", "test", root=tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'spikedriven\[hfds\]'"):
        create_dataset("hfds", "train", root=tmp_path)


def test_a_damaged_file_is_one_message(tmp_path: Path):
    root = write_hfds(tmp_path, parquet=True)
    (path,) = (root / "data").glob("train*")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=f"{root}: the `datasets` package cannot read it"):
        create_dataset("hfds", "train", root=root)
