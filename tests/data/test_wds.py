"""Webdataset shards: what was written is read, exactly once, from any place on; wrong shards
are one message.
"""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from webdataset import tariterators

from spikedriven.cli import main
from spikedriven.data import (
    DataConfig,
    build_eval_loader,
    build_train_loader,
    create_dataset,
    tar_index,
)
from spikedriven.data.images import endings
from spikedriven.data.tar_index import read_index, shard_index
from spikedriven.errors import DataError
from tests.data.shards import encoded, members, picture, write_tar, write_wds

CACHE = ".toy-train-0001.tar.index.npz"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return write_wds(tmp_path / "set")


def config(root: Path, **changes) -> DataConfig:
    options = {
        "dataset": "wds",
        "root": root,
        "img_size": 16,
        "in_chans": 3,
        "workers": 0,
        "scale": (0.5, 1.0),
    }
    return DataConfig(**{**options, **changes})


def test_images_and_labels_are_those_written(root: Path):
    train, test = (create_dataset("wds", split, root=root) for split in ("train", "test"))
    assert train.targets.tolist() == [seed % 3 for seed in range(15)]
    assert test.targets.tolist() == [seed % 3 for seed in range(1000, 1007)]
    assert train.classes == test.classes == ("0", "1", "2")
    assert train.shard_lengths.tolist() == [5, 4, 6]
    for index, (image, label) in enumerate(train):
        assert (np.asarray(image).tobytes(), label) == (
            np.asarray(picture(index)).tobytes(),
            index % 3,
        )
    assert train.where(6) == f"{root / 'toy-train-0001.tar'}, s00006.png"


def test_webdataset_reads_the_same(root: Path):
    ours = create_dataset("wds", "train", root=root).subset(np.arange(9, 15))
    with (root / "toy-train-0002.tar").open("rb") as file:
        theirs = list(
            tariterators.group_by_keys(
                tariterators.tar_file_expander([{"stream": file, "url": "x"}])
            )
        )
    for sample, (image, target) in zip(theirs, ours, strict=True):
        assert int(sample["cls"]) == target
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample["png"]))), np.asarray(image))


def test_classes_txt_names_classes(root: Path):
    (root / "classes.txt").write_text("\ufeffant\nbee\ncat\n\n", encoding="utf-8")
    assert create_dataset("wds", "train", root=root).classes == ("ant", "bee", "cat")
    (root / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(DataError, match=r"label 2 found, but .*classes\.txt names 2 classes"):
        create_dataset("wds", "test", root=root)


def test_an_empty_line_would_move_the_names_of_all_classes_behind_it(root: Path):
    (root / "classes.txt").write_text("ant\n\nbee\ncat\n")
    with pytest.raises(
        DataError,
        match=r"classes\.txt, line 2: empty, but line k \+ 1 names the class with label k",
    ):
        create_dataset("wds", "train", root=root)


@pytest.mark.parametrize(
    "name", ["x-train-val-0.tar", "train/validation-part-0.tar", "test/training_0.tar"]
)
def test_a_shard_of_both_parts_is_refused(root: Path, name: str):
    write_tar(root / name, members(range(2)))
    for split in ("train", "test"):
        with pytest.raises(
            DataError,
            match=f"{name}: its name has .* so that it would be trained on and evaluated on",
        ):
            create_dataset("wds", split, root=root)


def test_a_label_that_would_make_a_million_classes_is_refused_unless_they_have_names(
    tmp_path: Path,
):
    write_tar(tmp_path / "train-0.tar", [("a.png", encoded(0)), ("a.cls", b"30000000")])
    with pytest.raises(
        DataError, match=r"label 30000000 found, which would make 30,000,001 classes"
    ):
        create_dataset("wds", "train", root=tmp_path)


@pytest.mark.parametrize("kind", ["gif", "bmp", "tif", "avif"])
def test_other_pictures_are_read_too(tmp_path: Path, kind: str):
    if f".{kind}" not in endings():
        pytest.skip(f"this Pillow reads no {kind}")
    buffer = io.BytesIO()
    picture(3).save(buffer, format={"tif": "tiff"}.get(kind, kind))
    write_tar(tmp_path / "train-0.tar", [(f"a.{kind}", buffer.getvalue()), ("a.cls", b"0")])
    assert create_dataset("wds", "train", root=tmp_path)[0][0].size == picture(3).size


def test_a_class_in_one_part_only_counts_for_both(root: Path):
    write_tar(root / "toy-val-0002.tar", [("x.png", encoded(5)), ("x.cls", b"7")])
    assert create_dataset("wds", "train", root=root).num_classes == 8


@pytest.mark.parametrize(
    "layout",
    ["train/0.tar val/0.tar", "a-train-0.tar a-validation-0.tar", "wds/train-0.tar wds/test-0.tar"],
)
def test_layouts(tmp_path: Path, layout: str):
    train, test = layout.split()
    write_tar(tmp_path / train, members(range(4)))
    write_tar(tmp_path / test, members(range(2)))
    assert [len(create_dataset("wds", split, root=tmp_path)) for split in ("train", "test")] == [
        4,
        2,
    ]


def test_held_out_part_and_fraction_work_as_for_every_set(root: Path):
    parts = [
        create_dataset("wds", split, root=root, val_fraction=0.4) for split in ("train", "val")
    ]
    assert [np.bincount(part.targets).tolist() for part in parts] == [[3, 3, 3], [2, 2, 2]]
    assert sum(parts[0].shard_lengths) == 9
    assert set(map(parts[0].where, range(9))).isdisjoint(map(parts[1].where, range(6)))


def test_resume_in_the_middle_of_an_epoch_gives_the_same_bits(root: Path):
    for workers in (0, 2):
        train = build_train_loader(config(root, workers=workers), batch_size=2, seed=4)
        whole = list(train.epoch(1))
        again = list(build_train_loader(config(root), batch_size=2, seed=4).epoch(1, start_batch=3))
        assert len(whole) == 7 and len(again) == 4
        for a, b in zip(whole[3:], again, strict=True):
            assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        train.close()


def test_processes_read_each_sample_once(root: Path):
    loaders = [
        build_train_loader(config(root), batch_size=1, seed=4, rank=rank, world_size=4)
        for rank in range(4)
    ]
    orders = []
    for loader in loaders:
        loader._order.start(2, 0)
        orders.append([index for key in loader._order for index in key.indices])
    seen = [index for order in orders for index in order]
    assert len(seen) == len(set(seen)) == 12, "three of fifteen do not fill a global batch"
    tests = [
        build_eval_loader(config(root), batch_size=1, rank=rank, world_size=4) for rank in range(4)
    ]
    assert sorted(i for loader in tests for i in loader.sampler) == list(range(7))
    assert [len(list(loader)) for loader in tests] == [2, 2, 2, 1]


def test_an_unreadable_image_is_replaced_in_training_and_stops_evaluation(root: Path):
    broken = encoded(3)[:60]
    write_tar(root / "toy-train-0003.tar", [("b.png", broken), ("b.cls", b"1")])
    write_tar(root / "toy-val-0002.tar", [("b.png", broken), ("b.cls", b"1")])
    train = build_train_loader(config(root), batch_size=4, seed=0)
    list(train.epoch(0))
    list(train.epoch(1))
    assert (
        train.broken_files <= {f"{root / 'toy-train-0003.tar'}, b.png"} and train.broken_count >= 1
    )
    with pytest.raises(DataError, match=r"toy-val-0002\.tar, b\.png cannot be read as an image"):
        list(build_eval_loader(config(root), batch_size=4))


# The remembered table
# --------------------------------------------------------------------------------------------


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the shards had been written long before their tables."""
    monkeypatch.setattr(tar_index, "_TICK_NS", 0)


@pytest.mark.usefixtures("old")
def test_the_table_is_remembered_until_the_shard_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    shard = root / "toy-train-0001.tar"
    first = shard_index(shard)
    assert (root / CACHE).is_file() and not list(root.glob(".*.tmp"))
    with monkeypatch.context() as patch:
        patch.setattr(tar_index, "read_index", lambda path: pytest.fail("read again"))
        again = shard_index(shard)
    assert all(
        np.array_equal(getattr(first, f), getattr(again, f)) for f in ("offsets", "sizes", "labels")
    )
    write_tar(shard, members(range(2)))
    assert shard_index(shard).labels.tolist() == [0, 1]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut off"])
def test_a_damaged_table_is_made_again(root: Path, content: bytes):
    shard = root / "toy-train-0001.tar"
    expected = shard_index(shard).offsets.tolist()
    (root / CACHE).write_bytes(content)
    assert shard_index(shard).offsets.tolist() == expected
    assert (root / CACHE).stat().st_size > 100


@pytest.mark.parametrize("replaced", [True, False])
def test_another_shard_of_the_same_size_and_time_is_read_again(root: Path, replaced: bool):
    """As `cp -p` and `rsync -t` leave it, and as a program that writes into the file and sets
    its time back.
    """
    shard, other = root / "toy-train-0001.tar", root / "other.tar"
    state = shard.stat()
    assert shard_index(shard).labels.tolist() == [2, 0, 1, 2]
    write_tar(
        other,
        [
            (name, b"1" if name.endswith("cls") else content)
            for name, content in members(range(5, 9))
        ],
    )
    content = other.read_bytes().ljust(state.st_size, b"\0")[: state.st_size]
    other.write_bytes(content)
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    if replaced:
        other.replace(shard)
    else:
        shard.write_bytes(content)
        os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (shard.stat().st_size, shard.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert shard_index(shard).labels.tolist() == [1, 1, 1, 1]


@pytest.mark.usefixtures("old")
def test_no_bit_of_a_table_ends_in_a_raw_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of each byte one bit; NumPy and zipfile raise about ten kinds of errors. A table that is
    believed is right.
    """
    shard = write_tar(tmp_path / "train-0.tar", members(range(3)))
    expected = shard_index(shard)
    (cache,) = tmp_path.glob(".*.npz")
    content = cache.read_bytes()
    monkeypatch.setattr(tar_index, "_remember", lambda path, stamp, index: None)
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        cache.write_bytes(damaged)
        found = shard_index(shard)
        assert all(
            np.array_equal(getattr(found, f), getattr(expected, f))
            for f in ("offsets", "sizes", "labels")
        )


@pytest.mark.usefixtures("old")
def test_a_table_that_leads_out_of_its_shard_is_made_again(root: Path):
    shard, cache = root / "toy-train-0001.tar", root / CACHE
    expected = shard_index(shard).offsets.tolist()
    with np.load(cache) as archive:
        stamp, table = archive["stamp"], archive["table"]
    for wrong in (
        table + np.array([[1 << 40], [0], [0]]),
        table * [[1], [-1], [1]],
        np.zeros((3, 1 << 16), np.int64),
    ):
        np.savez(cache, stamp=stamp, table=wrong)
        assert shard_index(shard).offsets.tolist() == expected


def test_a_device_is_no_shard(root: Path):
    (root / "toy-train-0009.tar").symlink_to("/dev/null")
    with pytest.raises(DataError, match=r"toy-train-0009\.tar: no plain file"):
        create_dataset("wds", "train", root=root)


@pytest.mark.usefixtures("old")
def test_a_folder_that_cannot_be_written_uses_the_users_cache(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    replace = tar_index.replace_file

    def refuse(path: Path, data: bytes) -> None:
        if path.parent == root:
            raise PermissionError(13, "read-only")
        replace(path, data)

    monkeypatch.setattr(tar_index, "replace_file", refuse)
    shard = root / "toy-train-0001.tar"
    shard_index(shard)
    assert not (root / CACHE).exists()
    monkeypatch.setattr(tar_index, "read_index", lambda path: pytest.fail("read again"))
    assert shard_index(shard).labels.tolist() == [2, 0, 1, 2]


def test_a_shard_that_changed_under_a_run_is_named(root: Path):
    train = create_dataset("wds", "train", root=root)
    os.truncate(root / "toy-train-0002.tar", 600)
    with pytest.raises(DataError, match=r"toy-train-0002\.tar.*has the shard changed"):
        train[14]


# Wrong and hostile shards
# -----------------------------------------------------------------------------------------


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def lying(size: int) -> bytes:
    """A tar whose only image says it has `size` bytes."""
    info = tarfile.TarInfo("a.png")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "parent folder": (
        lambda p: write_tar(p, [("../../etc/a.png", b"x")]),
        "leads out of the archive",
    ),
    "absolute": (lambda p: write_tar(p, [("/etc/a.png", b"x")]), "leads out of the archive"),
    "symbolic link": (
        lambda p: write_tar(p, [special("a.png", tarfile.SYMTYPE, "/etc/passwd")]),
        "is a link",
    ),
    "hard link": (
        lambda p: write_tar(p, [special("a.png", tarfile.LNKTYPE, "/etc/passwd")]),
        "is a link",
    ),
    "device": (lambda p: write_tar(p, [special("a.png", tarfile.CHRTYPE)]), "is a link, a device"),
    "bomb by size": (lambda p: p.write_bytes(lying(1 << 40)), "bytes, expected 1 to|not a whole"),
    "empty image": (lambda p: write_tar(p, [("a.png", b""), ("a.cls", b"1")]), "has 0 bytes"),
    "no label": (
        lambda p: write_tar(p, [*members([1]), ("b.png", b"x")]),
        "sample 'b' has no label",
    ),
    "no image": (
        lambda p: write_tar(p, [("b.cls", b"1"), ("c.png", b"x"), ("c.cls", b"1")]),
        "'b' has no image",
    ),
    "two images": (
        lambda p: write_tar(p, [("b.png", b"x"), ("b.jpg", b"x"), ("b.cls", b"1")]),
        "two files for its",
    ),
    "scattered": (
        lambda p: write_tar(p, [*members([1, 2]), *members([1])]),
        "do not follow one another",
    ),
    "words": (
        lambda p: write_tar(p, [("b.cls", b"ant"), ("b.png", b"x")]),
        "expected a class number",
    ),
    "negative": (
        lambda p: write_tar(p, [("b.cls", b"-1"), ("b.png", b"x")]),
        "expected a class number",
    ),
    "long label": (
        lambda p: write_tar(p, [("b.cls", b"9" * 4096), ("b.png", b"x")]),
        "expected a class number",
    ),
    "huge label": (
        lambda p: write_tar(p, [("b.cls", b"9" * 19), ("b.png", b"x")]),
        "expected a class number",
    ),
    "compressed": (
        lambda p: p.write_bytes(gzip.compress(bytes(10240))),
        "not a whole uncompressed tar",
    ),
    "text": (lambda p: p.write_bytes(b"hello" * 500), "not a whole uncompressed tar"),
    "empty": (lambda p: p.write_bytes(b""), "not a whole uncompressed tar"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_shard_is_one_message_that_names_it(tmp_path: Path, kind: str):
    make, message = WRONG[kind]
    path = tmp_path / "x-train-0.tar"
    make(path)
    with pytest.raises(DataError, match=f"(?s)^{path}: .*({message})"):
        read_index(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "nothing was unpacked"


def test_a_shard_cut_off_anywhere_is_refused(tmp_path: Path):
    whole = write_tar(tmp_path / "whole.tar", members(range(3))).read_bytes()
    end = len(whole.rstrip(b"\0"))
    path = tmp_path / "x-train-0.tar"
    for length in [*range(1, end, 97), *range(512, end + 512, 512)]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"^{path}: "):
            read_index(path)


def test_a_damaged_header_is_refused(tmp_path: Path):
    path = write_tar(tmp_path / "x-train-0.tar", members(range(3)))
    content = bytearray(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        place = tar.getmembers()[3].offset
    content[place + 10] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"damaged or cut off at byte {place}"):
        read_index(path)


def test_missing_shards_and_parts(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(DataError, match=r"no shards were found: expected NAME-train-0000\.tar"):
        create_dataset("wds", "train", root=tmp_path / "home")
    for shard in root.glob("*val*.tar"):
        shard.unlink()
    with pytest.raises(DataError, match="nothing to evaluate on"):
        create_dataset("wds", "test", root=root)
    assert len(create_dataset("wds", "val", root=root, val_fraction=0.4)) == 6


def test_the_data_command_lists_and_checks_shards(root: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "--root", str(root)]) == 0
    assert "as found" in capsys.readouterr().out
    assert main(["data", "--check", "wds", "--root", str(root)]) == 0
    assert "15" in capsys.readouterr().out
    shutil.copy(root / "toy-train-0000.tar", root / "toy-train-0009.tar")
    os.truncate(root / "toy-train-0009.tar", 1000)
    assert main(["data", "--check", "wds", "--root", str(root)]) == 2
    assert "toy-train-0009.tar" in capsys.readouterr().err
