"""VOC 2012 with the labels of SBD: both layouts, which images are for training, and what is
said of damaged files.
"""

import sys

import pytest
import torch

from spikedriven.cli import main
from spikedriven.data import create_dataset, find_set
from spikedriven.data.segmentation import SegmentationDataConfig
from spikedriven.data.segmentation.voc_aug import locate_sbd
from spikedriven.errors import DataError
from tests.data.segmentation.folders import make_voc, make_voc_aug, quarters


def opened(root, split="train"):
    return create_dataset(SegmentationDataConfig(dataset="voc12aug", root=root, workers=0), split)


@pytest.mark.parametrize("form", ["mat", "aug", "trainaug"])
def test_train_images_and_their_labels(form, tmp_path):
    folder = make_voc_aug(tmp_path, form)
    train, test = opened(tmp_path), opened(tmp_path, "test")
    names = [path.stem for path in train.images]
    assert names == [*(f"2007_train{i}" for i in range(4)), *(f"2008_{i:06d}" for i in range(3))]
    assert [path.stem for path in test.images] == ["2007_val0", "2007_val1"]
    assert (train.num_classes, train.classes[20]) == (21, "tvmonitor")
    image, labels = train[0]
    assert torch.equal(labels, torch.from_numpy(quarters(30, 40, (0, 20, 255, 1)))), (
        "VOC's own labels come first"
    )
    image, labels = train[5]
    assert image.shape == (3, 30, 40) and labels.dtype == torch.uint8
    assert torch.equal(labels, torch.from_numpy(quarters(30, 40, (0, 9, 9, 11))))
    assert train.maps[5].parent in (folder, folder / "cls")
    entry = find_set("voc12aug", "segmentation")
    assert (entry.facts.train_images, entry.facts.test_images) == (10_582, 1_449)
    assert entry.locate(tmp_path) == find_set("voc2012", "segmentation").locate(tmp_path)


def test_where_the_sets_are_looked_for(tmp_path):
    assert find_set("voc12aug", "segmentation").locate(tmp_path) is None
    with pytest.raises(DataError, match="voc2012 was not found"):
        opened(tmp_path)
    make_voc(tmp_path)
    assert find_set("voc12aug", "segmentation").locate(tmp_path) is None
    with pytest.raises(
        DataError, match=r"labels of SBD were not found: expected .*SegmentationClassAug"
    ):
        opened(tmp_path)
    assert len(opened(tmp_path, "test")) == 2, "the test part needs VOC only"
    folder = make_voc_aug(tmp_path / "other")
    (folder.parents[1] / "benchmark_RELEASE").mkdir()
    folder.rename(folder.parents[1] / "benchmark_RELEASE" / "dataset")
    assert locate_sbd(tmp_path / "other") == tmp_path / "other" / "benchmark_RELEASE" / "dataset"
    assert len(opened(tmp_path / "other")) == 7


def test_a_folder_without_a_list(tmp_path):
    folder = make_voc_aug(tmp_path, "aug")
    (folder.parent / "ImageSets" / "Segmentation" / "aug.txt").unlink()
    with pytest.raises(DataError, match=r"neither .*aug\.txt nor trainaug\.txt says which"):
        opened(tmp_path)


def test_damaged_files_are_named(tmp_path):
    folder = make_voc_aug(tmp_path)
    train = opened(tmp_path)
    whole = train.maps[4].read_bytes()
    contents = (
        b"",
        whole[:100],
        whole[: len(whole) - 9],
        b"no MATLAB file",
        whole[:-20] + bytes(20),
    )
    for content in contents:
        train.maps[4].write_bytes(content)
        with pytest.raises(
            DataError, match=r"2008_000000\.mat cannot be read as a label map of SBD"
        ):
            train[4]
    (folder / "cls" / "2008_000001.mat").unlink()
    with pytest.raises(DataError, match=r"2008_000001\.mat is missing"):
        opened(tmp_path)


def test_without_scipy_the_user_is_told_what_helps(tmp_path, monkeypatch):
    make_voc_aug(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match=r"pip install scipy\. Or convert"):
        opened(tmp_path)


def test_the_command_checks_the_set(tmp_path, capsys):
    make_voc_aug(tmp_path, "trainaug")
    assert main(["data", "--check", "voc12aug", "--root", str(tmp_path)]) == 0
    assert "voc12aug" in capsys.readouterr().out
