"""Names, splits, the validation part, and the folders of CIFAR and ImageNet."""

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikedriven.data import DataConfig, cifar, create_dataset, data_folder, find_set
from spikedriven.data.loaders import _open
from spikedriven.data.parts import _held_out
from spikedriven.errors import DataError, InputError
from tests.data.conftest import ImageFolderMaker, truncate


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar-10", "cifar10"),
        ("fashion", "fashion-mini"),
        ("ImageNet", "imagenet"),
        ("zzz", "known: fashion"),
    ],
)
def test_unknown_name_lists_close_ones(name: str, hint: str):
    with pytest.raises(InputError, match=f"unknown data set '{name}'.*{hint}"):
        create_dataset(name, "train")


def test_wrong_split_and_fraction():
    with pytest.raises(
        InputError, match="split 'valid' does not exist; expected one of train, val, test"
    ):
        create_dataset("fashion-mini", "valid")
    with pytest.raises(InputError, match="val_fraction > 0"):
        create_dataset("fashion-mini", "val")
    with pytest.raises(InputError, match=r"val_fraction is 1\.0"):
        create_dataset("fashion-mini", "val", val_fraction=1.0)


def test_data_folder_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SPIKEDRIVEN_DATA", raising=False)
    assert data_folder() == tmp_path / ".cache" / "spikedriven"
    monkeypatch.setenv("SPIKEDRIVEN_DATA", str(tmp_path / "sets"))
    assert data_folder() == tmp_path / "sets"
    assert data_folder("~/mine") == tmp_path / "mine"


def test_validation_part_is_disjoint_balanced_and_complete():
    whole = create_dataset("fashion-mini", "train")
    train = create_dataset("fashion-mini", "train", val_fraction=0.1)
    val = create_dataset("fashion-mini", "val", val_fraction=0.1)
    assert np.bincount(val.targets).tolist() == [100] * 10
    assert sorted([*train.origin, *val.origin]) == list(range(10_000))
    position = int(val.origin[5])
    assert val[5][0].tobytes() == whole[position][0].tobytes()
    assert val.where(5) == whole.where(position)
    assert create_dataset("fashion-mini", "test", val_fraction=0.1).targets.shape == (2000,)


@given(
    counts=st.lists(st.integers(2, 60), min_size=1, max_size=6),
    fraction=st.sampled_from([0.3, 0.5, 0.6]),
)
def test_validation_part_has_the_same_share_of_each_class(counts: list[int], fraction: float):
    targets = np.repeat(np.arange(len(counts)), counts)
    mask = _held_out(targets, fraction)
    assert [int(mask[targets == label].sum()) for label in range(len(counts))] == [
        round(fraction * n) for n in counts
    ]
    assert np.array_equal(mask, _held_out(targets, fraction))


def test_train_fraction_is_balanced_nested_seeded_and_spares_the_validation_part():
    def origins(split: str, fraction: float, seed: int = 0) -> set[int]:
        cfg = DataConfig(val_fraction=0.1, train_fraction=fraction, train_fraction_seed=seed)
        return set(_open(cfg, split, 1, 0, 1).origin.tolist())

    small, large, other = (
        origins("train", 0.1),
        origins("train", 0.2),
        origins("train", 0.1, seed=1),
    )
    whole = create_dataset("fashion-mini", "train", val_fraction=0.1)
    assert len(small) == 900 and small < large < set(whole.origin.tolist())
    assert small != other and len(other) == 900
    assert (
        np.bincount(_open(DataConfig(train_fraction=0.1), "train", 1, 0, 1).targets).tolist()
        == [100] * 10
    )
    assert origins("val", 0.1) == set(
        create_dataset("fashion-mini", "val", val_fraction=0.1).origin.tolist()
    )
    assert len(_open(DataConfig(train_fraction=1e-6), "train", 1, 0, 1)) == 10, (
        "at least one image of each class"
    )


def test_validation_part_that_would_be_empty_is_refused():
    with pytest.raises(InputError, match="puts 0 of 10000 train samples aside"):
        create_dataset("fashion-mini", "val", val_fraction=0.0001)


def test_registry_states_what_the_embedded_set_holds():
    entry = find_set("fashion-mini").facts
    train, test = (create_dataset("fashion-mini", split) for split in ("train", "test"))
    assert (len(train), len(test), train.num_classes) == (
        entry.train_images,
        entry.test_images,
        entry.num_classes,
    )
    pixels = train.images / 255
    assert abs(pixels.mean() - entry.mean[0]) < 0.005
    assert abs(pixels.std() - entry.std[0]) < 0.005


@pytest.fixture
def cifar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's files with 4 images each, and a reader that expects their checksums."""
    reader, draw = cifar.CIFAR10.reader, np.random.Generator(np.random.PCG64(0))
    folder = tmp_path / reader.base_folder
    folder.mkdir()

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name: str) -> tuple[str, str]:
        data = draw.integers(0, 256, (4, 3072), dtype=np.uint8)
        return name, write(name, {"data": data, "labels": [0, 1, 2, 9]})

    monkeypatch.setattr(reader, "train_list", [batch(name) for name, _ in reader.train_list])
    monkeypatch.setattr(reader, "test_list", [batch(name) for name, _ in reader.test_list])
    names = [f"class {label}" for label in range(10)]
    md5 = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(
        reader, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5}
    )
    return tmp_path


def test_cifar_is_read(cifar_folder: Path):
    train, test = (
        create_dataset("cifar10", split, root=cifar_folder) for split in ("train", "test")
    )
    assert (len(train), len(test), train.classes[3]) == (20, 4, "class 3")
    raw = pickle.loads((cifar_folder / "cifar-10-batches-py" / "data_batch_2").read_bytes())["data"]
    image, label = train[5]
    assert (image.mode, image.size, label) == ("RGB", (32, 32), 1)
    assert np.array_equal(np.asarray(image).transpose(2, 0, 1).reshape(-1), raw[1])
    assert cifar.CIFAR10.locate(cifar_folder) == cifar_folder / "cifar-10-batches-py"


def test_cifar_is_not_unpickled_before_its_checksum_is_right(cifar_folder: Path):
    path = cifar_folder / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(cifar_folder / "ran").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=f"{path} is damaged"):
        create_dataset("cifar10", "train", root=cifar_folder)
    assert not (cifar_folder / "ran").exists()


def test_cifar_missing_file_is_named(cifar_folder: Path):
    path = cifar_folder / "cifar-10-batches-py" / "test_batch"
    path.unlink()
    with pytest.raises(DataError, match=f"{path} is missing. Unpack cifar-10-python.tar.gz"):
        create_dataset("cifar10", "train", root=cifar_folder)
    assert cifar.CIFAR10.locate(cifar_folder) is None


def test_cifar_failed_download_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar.CIFAR100.reader, "url", "http://127.0.0.1:9/cifar-100-python.tar.gz")
    with pytest.raises(DataError, match=r"downloading http://127\.0\.0\.1:9/.* failed"):
        create_dataset("cifar100", "train", root=tmp_path, download=True)


def test_imagenet_layout(image_folder: ImageFolderMaker):
    root = image_folder()
    for place in (root, root.parent):
        if place == root.parent:
            root.rename(place / "imagenet")
            root = place / "imagenet"
        train, test = (create_dataset("imagenet", split, root=place) for split in ("train", "test"))
        assert train.classes == ("ant", "bee")
        assert train.targets.tolist() == test.targets.tolist() == [0] * 6 + [1] * 6
        assert train.where(7) == str(root / "train" / "bee" / "1.jpg")
        assert test[0][0].size == (40, 32)
    held_out = create_dataset("imagenet", "val", root=root, val_fraction=0.5)
    assert np.bincount(held_out.targets).tolist() == [3, 3]


def test_imagenet_missing_folder(image_folder: ImageFolderMaker):
    root = image_folder()
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match=f"imagenet was not found: expected {root}/train/CLASS"):
        create_dataset("imagenet", "train", root=root)
    with pytest.raises(DataError, match="cannot be downloaded"):
        create_dataset("imagenet", "train", root=root, download=True)


def test_imagenet_empty_class_is_named(image_folder: ImageFolderMaker):
    root = image_folder()
    for path in (root / "train" / "bee").iterdir():
        path.unlink()
    (root / "train" / "bee" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=f"{root / 'train'}.*bee"):
        create_dataset("imagenet", "train", root=root)
    assert len(create_dataset("imagenet", "test", root=root)) == 12


def test_imagenet_train_and_val_must_have_the_same_classes(image_folder: ImageFolderMaker):
    root = image_folder()
    (root / "val" / "bee").rename(root / "val" / "wasp")
    with pytest.raises(
        DataError, match=r"same class folders, but only one of them has bee, wasp \(2 in all\)"
    ):
        create_dataset("imagenet", "test", root=root)


def test_imagenet_flat_validation_folder(image_folder: ImageFolderMaker):
    root = image_folder()
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(DataError, match=f"{root / 'val'} holds no class folders.*archive is flat"):
        create_dataset("imagenet", "test", root=root)


@pytest.mark.parametrize("kind", ["truncated jpeg", "truncated png", "empty", "text", "gone"])
def test_unreadable_image_is_named(image_folder: ImageFolderMaker, kind: str):
    root = image_folder()
    dataset = create_dataset("imagenet", "train", root=root)
    path = root / "train" / "ant" / "2.jpg"
    if kind == "truncated png":
        dataset[0][0].save(path, format="png")
    if kind.startswith("truncated"):
        truncate(path)
    elif kind == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if kind == "empty" else b"not a picture")
    with pytest.raises(DataError, match=f"{path} cannot be read as an image"):
        dataset[2]
    assert dataset[3][1] == 0
