"""fashion-mini inside the package, and every way the full set can be found, missing or damaged."""

import functools
import gzip
import hashlib
import http.server
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from spikedriven.data import create_dataset, fashion
from spikedriven.errors import DataError
from tests.data.conftest import truncate, write_fashion, write_idx

BUILD_SCRIPT = Path(__file__).parents[2] / "tools" / "build_fashion_mini.py"
DEBIAN_FILE = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


@pytest.fixture
def small_full_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder, on a machine without Debian's package, where the full set has 20
    images per split.
    """
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(fashion, "IMAGES_PER_SPLIT", {"train": 20, "test": 20})
    return tmp_path / "data"


def test_mini_is_balanced_and_complete():
    for split, per_class in (("train", 1000), ("test", 200)):
        dataset = create_dataset("fashion-mini", split)
        assert np.bincount(dataset.targets).tolist() == [per_class] * 10
        image, label = dataset[7]
        assert (image.mode, image.size, type(label)) == ("L", (28, 28), int)
    assert dataset.classes[9] == "Ankle boot"
    assert dataset.num_classes == 10


def test_mini_holds_different_images_in_train_and_test():
    digests = [
        {
            hashlib.sha256(image.tobytes()).digest()
            for image in create_dataset("fashion-mini", split).images
        }
        for split in ("train", "test")
    ]
    assert len(digests[1]) == 2000
    assert not digests[0] & digests[1]


def test_mini_refuses_a_damaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    damaged = tmp_path / "fashion-mini.npz"
    damaged.write_bytes(fashion.EMBEDDED_FILE.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(fashion, "EMBEDDED_FILE", damaged)
    fashion._embedded_arrays.cache_clear()
    try:
        with pytest.raises(
            DataError, match=r"fashion-mini\.npz is damaged: sha256 [0-9a-f]{64}, expected"
        ):
            create_dataset("fashion-mini", "train")
        damaged.unlink()
        with pytest.raises(DataError, match="missing from the installation"):
            create_dataset("fashion-mini", "train")
    finally:
        fashion._embedded_arrays.cache_clear()


def build_module():
    spec = importlib.util.spec_from_file_location("build_fashion_mini", BUILD_SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_choice_is_balanced_ascending_and_independent_of_other_classes():
    labels = np.arange(30_000) % 10
    chosen = build_module().choose("train", labels)
    assert np.bincount(labels[chosen]).tolist() == [1000] * 10
    assert (np.diff(chosen) > 0).all()
    others_moved = np.where(labels == 3, 3, (labels + 1) % 10)
    others_moved[labels == 2] = 4
    chosen_again = build_module().choose("train", others_moved)
    assert chosen_again[labels[chosen_again] == 3].tolist() == chosen[labels[chosen] == 3].tolist()


@pytest.mark.skipif(not DEBIAN_FILE.exists(), reason="needs Debian's package dataset-fashion-mnist")
def test_shipped_file_is_rebuilt_byte_for_byte(tmp_path: Path):
    rebuilt = build_module().build(DEBIAN_FILE.parent, tmp_path / "fashion-mini.npz")
    assert rebuilt == fashion.EMBEDDED_SHA256
    assert list(tmp_path.iterdir()) == [tmp_path / "fashion-mini.npz"]


@pytest.mark.parametrize("place", ["FashionMNIST/raw", "fashion-mnist", "."])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_full_set_is_found_in_the_data_folder(small_full_set: Path, place: str, suffix: str):
    images = write_fashion(small_full_set / place, suffix=suffix)
    for split, stem in (("train", "train"), ("test", "t10k")):
        dataset = create_dataset("fashion-mnist", split, root=small_full_set)
        assert len(dataset) == 20
        assert np.array_equal(np.asarray(dataset[3][0]), images[stem][3])
        assert dataset[13][1] == 3


def test_data_folder_comes_before_debian(small_full_set: Path, monkeypatch: pytest.MonkeyPatch):
    write_fashion(fashion.DEBIAN_FOLDER)
    assert fashion.locate(small_full_set) == fashion.DEBIAN_FOLDER
    write_fashion(small_full_set / "fashion-mnist")
    monkeypatch.setenv("SPIKEDRIVEN_DATA", str(small_full_set))
    assert (
        create_dataset("fashion-mnist", "train").where(4)
        == f"{small_full_set / 'fashion-mnist'}, image 4"
    )


def test_missing_full_set_names_all_three_places_and_what_is_incomplete(small_full_set: Path):
    write_idx(small_full_set / "train-images-idx3-ubyte", np.zeros((20, 28, 28), np.uint8))
    with pytest.raises(DataError) as caught:
        create_dataset("fashion-mnist", "train", root=small_full_set)
    message = str(caught.value)
    assert str(small_full_set / "FashionMNIST" / "raw") in message
    assert str(fashion.DEBIAN_FOLDER) in message
    assert "--download" in message
    assert f"{small_full_set} lacks train-labels-idx1-ubyte" in message


def damage_truncated(path: Path) -> None:
    truncate(path)


def damage_not_gzip(path: Path) -> None:
    path.write_bytes(b"<html>404</html>")


def damage_other_shape(path: Path) -> None:
    write_idx(path, np.zeros((20, 32, 32), np.uint8))


def damage_short_inside(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5]))


@pytest.mark.parametrize(
    "damage",
    [damage_truncated, damage_not_gzip, damage_other_shape, damage_short_inside],
    ids=lambda f: f.__name__,
)
def test_damaged_file_is_named(small_full_set: Path, damage):
    write_fashion(small_full_set)
    path = small_full_set / "t10k-images-idx3-ubyte.gz"
    damage(path)
    with pytest.raises(DataError, match=f"{path}.*fetch the file again"):
        create_dataset("fashion-mnist", "test", root=small_full_set)
    assert len(create_dataset("fashion-mnist", "train", root=small_full_set)) == 20


def test_label_out_of_range_is_refused(small_full_set: Path):
    write_fashion(small_full_set)
    write_idx(small_full_set / "train-labels-idx1-ubyte.gz", np.full(20, 10, np.uint8))
    with pytest.raises(DataError, match="label 10 found"):
        create_dataset("fashion-mnist", "train", root=small_full_set)


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server on this machine that torchvision takes for the mirror of Fashion-MNIST."""
    images = write_fashion(tmp_path / "mirror")
    checksums = [
        (name, hashlib.md5((tmp_path / "mirror" / name).read_bytes()).hexdigest())
        for name, _ in FashionMNIST.resources
    ]
    handler = functools.partial(_QuietHandler, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(FashionMNIST, "resources", checksums)
        yield images
        server.shutdown()


def test_download_only_when_allowed(small_full_set: Path, mirror: dict[str, np.ndarray]):
    with pytest.raises(DataError, match="was not found"):
        create_dataset("fashion-mnist", "train", root=small_full_set)
    dataset = create_dataset("fashion-mnist", "test", root=small_full_set, download=True)
    assert np.array_equal(np.asarray(dataset[19][0]), mirror["t10k"][19])
    assert len(create_dataset("fashion-mnist", "train", root=small_full_set)) == 20


def test_failed_download_says_so(small_full_set: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(
        DataError, match=r"downloading fashion-mnist failed(.|\n)*1\. put them into"
    ):
        create_dataset("fashion-mnist", "train", root=small_full_set, download=True)
