"""The three event sets from folders in the layouts of the papers: what is found, which split,
what is refused.
"""

import dataclasses
import hashlib
import importlib.util
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.data import (
    EventDataConfig,
    build_train_loader,
    config_for,
    create_dataset,
    find_set,
)
from spikedriven.data.events import cifar10_dvs, read_events, recordings, save_events
from spikedriven.data.events.cifar10_dvs import CLASSES, SPLIT_FILE, SPLIT_SHA256
from spikedriven.errors import DataError, InputError
from tests.data.events.sets import GESTURE_US, write_cifar10_dvs, write_gesture, write_har

BUILD_SCRIPT = Path(__file__).parents[3] / "tools" / "build_cifar10_dvs_split.py"


def config(dataset: str, root: Path, **changes) -> EventDataConfig:
    return config_for(dataset, root=root, **{"time_steps": 4, "workers": 0} | changes)


def names(dataset) -> list[str]:
    return [Path(dataset.where(i).partition(",")[0]).name for i in range(len(dataset))]


# CIFAR10-DVS
# --------------------------------------------------------------------------------------------------


def test_the_authors_split_goes_by_names_as_text(tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=12, events=5)
    cfg = config("cifar10-dvs", tmp_path, split="authors")
    train, test = (create_dataset(cfg, split) for split in ("train", "test"))
    assert names(train)[:11] == [
        f"cifar10_airplane_{i}.aedat" for i in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8)
    ]
    assert names(test) == [f"cifar10_{name}_9.aedat" for name in CLASSES]
    assert test.targets.tolist() == list(range(10)) and train.classes == CLASSES


def test_our_split_is_the_shipped_list(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("build_cifar10_dvs_split", BUILD_SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.build(tmp_path / "again.txt") == SPLIT_SHA256, "the list can be drawn again"
    assert hashlib.sha256(SPLIT_FILE.read_bytes()).hexdigest() == SPLIT_SHA256
    listed = [
        line.split() for line in SPLIT_FILE.read_text().splitlines() if not line.startswith("#")
    ]
    assert [words[0] for words in listed] == list(CLASSES)
    assert all(
        len(set(words[1:])) == 100 and set(map(int, words[1:])) <= set(range(1000))
        for words in listed
    )
    write_cifar10_dvs(tmp_path, per_class=30, events=1)
    train, test = (
        create_dataset(config("cifar10-dvs", tmp_path), split) for split in ("train", "test")
    )
    expected = {
        f"cifar10_{name}_{n}.aedat" for name, *numbers in listed for n in numbers if int(n) < 30
    }
    assert set(names(test)) == expected and len(expected) > 10
    assert len(train) + len(test) == 300 and not set(names(train)) & expected


def test_a_damaged_split_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_cifar10_dvs(tmp_path, per_class=2, events=1)
    bent = tmp_path / "split.txt"
    bent.write_bytes(SPLIT_FILE.read_bytes().replace(b"airplane", b"airplanes"))
    monkeypatch.setattr(cifar10_dvs, "SPLIT_FILE", bent)
    cifar10_dvs._shipped_split.cache_clear()
    with pytest.raises(DataError, match="sha256"):
        create_dataset(config("cifar10-dvs", tmp_path), "train")


def test_frames_of_a_recording(tmp_path: Path):
    folder = write_cifar10_dvs(tmp_path, per_class=1, events=11)
    dataset = create_dataset(config("cifar10-dvs", tmp_path, split="authors", cache=False), "train")
    frames, label = dataset[3]
    events = read_events(folder / "cat" / "cifar10_cat_0.aedat")
    assert label == 3 and frames.dtype == torch.float32 and frames.shape == (4, 2, 128, 128)
    assert frames.sum((1, 2, 3)).tolist() == [2, 2, 2, 5]
    for i in range(8, 11):
        assert frames[3, int(events.p[i]), events.y[i], events.x[i]] >= 1


def test_npz_recordings_without_a_sensor_size(tmp_path: Path):
    folder = write_cifar10_dvs(tmp_path, per_class=1)
    for path in sorted(folder.rglob("*.aedat")):
        events = read_events(path)
        np.savez(path.with_suffix(".npz"), t=events.t, x=events.x, y=events.y, p=events.p)
    first = create_dataset(config("cifar10-dvs", tmp_path, cache=False), "train")
    wanted = {name: first[i][0] for i, name in enumerate(names(first))}
    for path in folder.rglob("*.aedat"):
        path.unlink()
    again = create_dataset(config("cifar10-dvs", tmp_path, cache=False), "train")
    for i, name in enumerate(names(again)):
        assert torch.equal(again[i][0], wanted[name.replace(".npz", ".aedat")])


@pytest.mark.parametrize("layout", ["cifar10-dvs", "CIFAR10DVS/extract", "."])
def test_layouts_that_are_looked_for(layout: str, tmp_path: Path):
    folder = write_cifar10_dvs(tmp_path / "x", per_class=2, events=1)
    place = tmp_path / "data" / layout
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place) if layout != "." else folder.rename(tmp_path / "data2")
    root = tmp_path / ("data2" if layout == "." else "data")
    assert find_set("cifar10-dvs").locate(root) == (place if layout != "." else root)
    assert len(create_dataset(config("cifar10-dvs", root, split="authors"), "train")) == 20


def test_what_is_missing_is_named(tmp_path: Path):
    for name in ("cifar10-dvs", "dvs128-gesture", "har-dvs"):
        with pytest.raises(
            DataError,
            match=f"{name} was not found: expected {re.escape(str(tmp_path))}.*SPIKEDRIVEN_DATA",
        ):
            create_dataset(config(name, tmp_path), "train")
        assert find_set(name).locate(tmp_path) is None
    folder = write_cifar10_dvs(tmp_path, per_class=1, events=1)
    (folder / "dog" / "cifar10_dog_0.aedat").rename(folder / "dog" / "puppy.aedat")
    with pytest.raises(
        DataError, match=r"puppy.aedat: expected a name that ends with the recording's number"
    ):
        create_dataset(config("cifar10-dvs", tmp_path), "train")
    (folder / "dog" / "puppy.aedat").unlink()
    with pytest.raises(DataError, match="files of class dog, found none"):
        create_dataset(config("cifar10-dvs", tmp_path), "train")


def test_a_part_without_recordings_is_refused(tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=9, events=1)
    with pytest.raises(DataError, match=r"no recording is in the test part of data\.split authors"):
        create_dataset(config("cifar10-dvs", tmp_path, split="authors"), "test")


# the frame cache
# --------------------------------------------------------------------------------------------------


def test_frames_are_kept_and_follow_their_source(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    folder = write_cifar10_dvs(tmp_path, per_class=1)
    dataset = create_dataset(config("cifar10-dvs", tmp_path, split="authors"), "train")
    first = dataset[0][0]
    (entry,) = (tmp_path / "spikedriven-frames").rglob("*.npz")
    source = folder / "airplane" / "cifar10_airplane_0.aedat"
    content, times = source.read_bytes(), source.stat()
    with monkeypatch.context() as patch:
        patch.setattr(
            recordings, "stream_events", lambda *_args, **_options: pytest.fail("read again")
        )
        assert torch.equal(dataset[0][0], first), "read from the cache"
    source.write_bytes(b"\x00" * len(content))
    os.utime(
        source, ns=(times.st_atime_ns, times.st_mtime_ns)
    )  # of the same size and time, and yet another file
    with pytest.raises(DataError, match="expected an AEDAT"):
        dataset[0]
    source.write_bytes(content)
    entry.write_bytes(entry.read_bytes()[:-30])
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(dataset[0][0], first)
    assert "damaged entry" in caplog.text
    other = create_dataset(
        config("cifar10-dvs", tmp_path, split="authors", values="binary"), "train"
    )
    assert other[0][0].max() == 1
    elsewhere = config("cifar10-dvs", tmp_path, split="authors", cache_dir=tmp_path / "frames")
    assert torch.equal(create_dataset(elsewhere, "train")[0][0], first)
    assert len(list((tmp_path / "frames").rglob("*.npz"))) == 1


# DVS128 Gesture
# --------------------------------------------------------------------------------------------------


def test_gestures_are_cut_by_the_table(tmp_path: Path):
    folder = write_gesture(tmp_path)
    for cache in (False, True):
        cfg = config("dvs128-gesture", tmp_path, cache=cache)
        train, test = (create_dataset(cfg, split) for split in ("train", "test"))
        assert (len(train), len(test), test.num_classes) == (22, 11, 11)
        assert train.targets.tolist() == list(range(11)) * 2
        events = read_events(folder / "user01_train.aedat").between(4 * GESTURE_US, 5 * GESTURE_US)
        frames = train.frames(11 + 4)
        assert frames.sum() == len(events) == 200
        assert frames[0].sum() == 50
        assert frames[0, int(events.p[0]), events.y[0], events.x[0]] >= 1
        assert train.where(15) == f"{folder / 'user01_train.aedat'}, 400000 to 500000 microseconds"
    entries = list((tmp_path / "spikedriven-frames").rglob("*.npz"))
    assert len(entries) == 11, (
        "the other gestures of the file were made on the way, those of the other file not"
    )


def test_damage_behind_a_gesture_does_not_harm_it(tmp_path: Path):
    folder = write_gesture(tmp_path, users=(1, 1))
    path = folder / "user00_train.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    for cache in (False, True):
        dataset = create_dataset(config("dvs128-gesture", tmp_path, cache=cache), "train")
        assert dataset.frames(0).sum() == 200
        with pytest.raises(DataError, match="cut off"):
            dataset.frames(10)


@pytest.mark.parametrize(
    "start", ["", "\ufeff", "class,startTime_usec,endTime_usec\n", "\ufeffclass, start, end\n"]
)
def test_a_table_may_have_a_title_and_loses_no_gesture_without(tmp_path: Path, start: str):
    folder = write_gesture(tmp_path, users=(1, 1))
    table = f"{start}1,0,1000\n2,1000,2000\n3,2000,3000\n"
    (folder / "user00_train_labels.csv").write_text(table, encoding="utf-8")
    assert create_dataset(config("dvs128-gesture", tmp_path), "train").targets.tolist() == [0, 1, 2]


def test_a_gesture_without_events_is_named(tmp_path: Path):
    folder = write_gesture(tmp_path, users=(1, 1))
    (folder / "user00_train_labels.csv").write_text("class,start,end\n3,99000000,99000001\n")
    dataset = create_dataset(config("dvs128-gesture", tmp_path), "train")
    with pytest.raises(DataError, match="99000000 to 99000001 microseconds: no events"):
        dataset.frames(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "trials_to_train.txt",
            "../../etc/passwd\n",
            r"trials_to_train.txt, line 1: expected a path below",
        ),
        ("trials_to_train.txt", "/etc/passwd\n", "expected a path below"),
        ("trials_to_train.txt", "\n\n", "found no gesture"),
        ("trials_to_train.txt", "\nuser77.aedat\n", "line 2: .*user77.aedat is missing"),
        ("user00_train_labels.csv", "1;0;5\n2,5,9\n", "line 1: expected three whole numbers"),
        ("user00_train_labels.csv", "title\n1,2\n", "line 2: expected three whole numbers"),
        ("user00_train_labels.csv", "title\n12,0,5\n", "expected a class from 1 to 11"),
        ("user00_train_labels.csv", "title\n1,5,5\n", "0 <= start < end, found '1,5,5'"),
        ("user00_train_labels.csv", None, "cannot be read as a text file"),
    ],
)
def test_lists_and_tables_that_cannot_be_used(
    name: str, content: str | None, message: str, tmp_path: Path
):
    path = write_gesture(tmp_path, users=(1, 1)) / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        create_dataset(config("dvs128-gesture", tmp_path), "train")


# HAR-DVS
# --------------------------------------------------------------------------------------------------


def steps_of(frames: torch.Tensor) -> list[int]:
    """Which pictures a clip shows: picture n is black in its first n + 1 of 26 rows."""
    black = frames[:, 0].mean(-1) > 0.6
    return [int(rows.sum()) for rows in black]


def har(tmp_path: Path, **changes) -> EventDataConfig:
    return config("har-dvs", tmp_path, **{"img_size": 21, "time_steps": 3} | changes)


def test_clips_labels_and_windows(tmp_path: Path):
    write_har(tmp_path, frames=12)
    train, test = (create_dataset(har(tmp_path), split) for split in ("train", "test"))
    assert (len(train), len(test), train.num_classes) == (12, 4, 300)
    assert test.targets.tolist() == [0, 0, 1, 1]
    frames, _ = test[0]
    assert frames.shape == (3, 2, 21, 21) and set(frames.unique().tolist()) == {0.0, 1.0}
    everything = steps_of(create_dataset(har(tmp_path, time_steps=12), "test")[0][0])
    assert everything == sorted(everything) and everything[-1] - everything[0] >= 9, (
        "in the order of their numbers"
    )
    assert steps_of(frames) == everything[4:7], "the middle of twelve pictures"
    assert torch.equal(test[0][0], frames)
    windows = {tuple(steps_of(train.frames(0, np.random.default_rng(seed)))) for seed in range(30)}
    assert len(windows) > 5 and all(list(window) == sorted(window) for window in windows)


def test_the_release_draws_windows_in_evaluation_too(tmp_path: Path):
    write_har(tmp_path, clips=(1, 8), frames=12)
    drawn = create_dataset(har(tmp_path, eval_window="random"), "test")
    windows = [tuple(steps_of(drawn[i][0])) for i in range(len(drawn))]
    assert len(set(windows)) > 3
    assert windows == [tuple(steps_of(drawn[i][0])) for i in range(len(drawn))], (
        "but always the same ones"
    )
    part = drawn.subset(np.array([5]))
    assert torch.equal(part[0][0], drawn[5][0])


def test_short_clips_are_filled_up_and_order_can_be_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_har(tmp_path, frames=2)
    frames = create_dataset(har(tmp_path), "train")[0][0]
    assert frames[1].sum() > 0 and frames[2].sum() == 0
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listing(self), reverse=True)))
    backwards = create_dataset(har(tmp_path, frame_order="directory"), "train")
    place = create_dataset(har(tmp_path), "train")
    at = [place.where(i) for i in range(len(place))].index(backwards.where(0))
    assert torch.equal(backwards[0][0][:2], place[at][0][:2].flip(0))


def test_grey_values_become_events(tmp_path: Path):
    folder = write_har(tmp_path, clips=(1, 1), frames=1, classes=1)
    (picture,) = (folder / "rawframes").rglob("train*/*/0.png")
    for grey, expected in (
        (0, [1, 0]),
        (30, [1, 0]),
        (31, [0, 0]),
        (76, [0, 0]),
        (77, [0, 1]),
        (198, [0, 1]),
        (199, [0, 0]),
        (255, [0, 0]),
    ):
        Image.fromarray(np.full((26, 34), grey, np.uint8)).save(picture)
        frames = create_dataset(har(tmp_path), "train")[0][0]
        assert frames[0].mean((1, 2)).tolist() == expected, grey


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret 1 0", r"train_label.txt, line 1: expected a path below"),
        ("train_000 1 300", "expected 'path number label' with a label below 300"),
        ("train_000 0", "expected 'path number label'"),
        ("nothing 1 0", "nothing is missing"),
    ],
)
def test_har_lists_that_cannot_be_used(line: str, message: str, tmp_path: Path):
    (write_har(tmp_path) / "train_label.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        create_dataset(har(tmp_path), "train")


def test_broken_pictures_and_empty_clips_are_named(tmp_path: Path):
    folder = write_har(tmp_path)
    (folder / "rawframes/train_000/clip_0/2.png").write_bytes(b"no picture")
    for path in (folder / "rawframes/train_000/clip_1").iterdir():
        path.unlink()
    dataset = create_dataset(har(tmp_path, time_steps=5), "train")
    with pytest.raises(DataError, match=r"clip_0/2\.png cannot be read as an image"):
        dataset[0]
    with pytest.raises(DataError, match=r"clip_1: expected \.png pictures, found none"):
        dataset[1]


# all of them
# --------------------------------------------------------------------------------------------------


def test_validation_part_and_names(tmp_path: Path):
    write_cifar10_dvs(tmp_path, per_class=20, events=1)
    cfg = config("cifar10-dvs", tmp_path, split="authors", val_fraction=0.5)
    train, val, test = (
        set(names(create_dataset(cfg, split))) for split in ("train", "val", "test")
    )
    assert (len(train), len(val), len(test)) == (90, 90, 20) and not train & val
    with pytest.raises(InputError, match="val_fraction > 0"):
        create_dataset(config("cifar10-dvs", tmp_path), "val")
    with pytest.raises(InputError, match="unknown data set 'cifar10dvs'; did you mean cifar10-dvs"):
        config_for("cifar10dvs")


def test_events_written_by_us_can_be_a_set(tmp_path: Path):
    folder = write_cifar10_dvs(tmp_path / "a", per_class=2)
    for path in folder.rglob("*.aedat"):
        save_events(path.with_suffix(".npz"), read_events(path))
        path.unlink()
    dataset = create_dataset(
        config("cifar10-dvs", tmp_path / "a", split="authors", cache=False), "train"
    )
    assert dataset[0][0].sum() == 200


def test_how_much_of_each_recording_is_used_is_said(tmp_path: Path):
    """Gestures of 100 ms, of which four steps of 10 ms have two fifths of the time."""
    write_gesture(tmp_path, events=1000)
    data = config_for(
        "dvs128-gesture", root=tmp_path, cache=False, time_steps=4, split_by="time", step_us=10_000
    )
    dataset = create_dataset(data, "train")
    shares = []
    for sample in dataset.samples:
        events = read_events(sample.file).between(sample.start, sample.stop)
        shares.append(
            len(events.between(int(events.t[0]), int(events.t[0]) + 40_000)) / len(events)
        )
    said = dataset.usage()
    assert said.startswith("4 steps of 10 ms use 0.0 of 0.1 s: ") and said.endswith(
        "(medians of 8 of 22 recordings)"
    )
    share = int(said.split(": ")[1].split(" %")[0]) / 100
    assert min(shares) - 0.01 <= share <= max(shares) + 0.01 and 0.3 < share < 0.5
    whole = dataclasses.replace(data, step_us=None)
    assert (
        create_dataset(whole, "train").usage() == "4 steps of equal time use all of each recording"
    )
    loader = build_train_loader(data, batch_size=2, seed=0)
    assert loader.usage() == said
    loader.close()


def test_the_simulated_set_says_it_too():
    data = config_for("fashion-events", time_steps=6, split_by="time", step_us=25_000)
    said = re.fullmatch(
        r"6 steps of 25 ms use 0.1 of 0.3 s: (\d+) % of events \(medians of 8 of 2000 recordings\)",
        create_dataset(data, "test").usage(),
    )
    assert said is not None and 40 < int(said[1]) < 60
