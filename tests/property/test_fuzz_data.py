"""Pictures, recordings and archives with random damage: each one is read, or is one clear error;
nothing else happens. No hang, and no memory for what a header claims.
"""

import gzip
import io
import json
import random
import resource
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spikedriven.data import DataConfig, EventDataConfig, config_for, create_dataset
from spikedriven.data.detection.coco import CocoInstances
from spikedriven.data.events.cache import FrameCache, file_stamp
from spikedriven.data.events.files import read_events
from spikedriven.data.events.framing import to_frames
from spikedriven.data.events.npz import save_events
from spikedriven.data.fashion import read_idx
from spikedriven.data.images import FileImages
from spikedriven.data.tar_index import read_index
from spikedriven.data.transforms import eval_transform, train_transform
from spikedriven.errors import DataError, SpikedrivenError
from spikedriven.report.images import read_frames, read_image, read_picture
from tests.data.conftest import photo, write_idx
from tests.data.detection import coco_files
from tests.data.events.sets import scattered, write_gesture, write_har
from tests.data.events.test_readers import random_events
from tests.data.events.written import write_aedat2, write_aedat31
from tests.property.mutate import no_longer_than, with_wrong_bytes

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL", "ignore:Corrupt EXIF data:UserWarning"
)
COUNT = pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
#: Peak memory may grow by so much during a test, bytes: the largest picture that is read has 268
#: million.
MORE_MEMORY = 600 << 20


@pytest.fixture(autouse=True)
def modest_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MORE_MEMORY


def survive(
    files: list[bytes],
    path: Path,
    read: Callable[[Path], Any],
    count: int,
    letters: bytes | None = None,
    named: str | None = None,
) -> int:
    """Read `count` damaged copies, written to `path`; how many could be read. Anything but a result
    or a message with `named` (the file's name) in it is a failure.
    """
    draws, done, problems = random.Random(count), 0, []
    for content in files:
        path.write_bytes(content)
        read(path)
    for _ in range(count):
        content = with_wrong_bytes(
            draws.choice(files), draws, *(() if letters is None else (letters,))
        )
        path.write_bytes(content)
        try:
            with no_longer_than(10), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pictures count
                read(path)
            done += 1
        except SpikedrivenError as error:
            if (named or path.name) not in str(error) or len(str(error)) > 2000:
                problems.append(f"a message without the file's name, or without end: {error}")
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error} for {content[:200]!r}")
    assert problems == []
    return done


def pictures() -> list[bytes]:
    """Of every format and mode that Pillow writes and a data set may hold."""
    image = photo(0)
    kinds = [
        *((image.convert(mode), "png", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        (Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 257), "png", {}),
        *(
            (image.convert(mode), "jpeg", {"quality": 90, "progressive": mode == "L"})
            for mode in ("L", "RGB", "CMYK")
        ),
        *((image.convert(mode), "tiff", {}) for mode in ("L", "RGB", "LAB", "CMYK")),
        (Image.fromarray(np.asarray(image.convert("L"), dtype=np.float32) / 255), "tiff", {}),
        *(
            (image.convert(mode), "tiff", {"compression": how})
            for mode in ("RGB",)
            for how in ("tiff_lzw", "jpeg")
        ),
        *((image, kind, {}) for kind in ("webp", "bmp", "gif", "ppm")),
    ]
    return [_encoded(*kind) for kind in kinds]


def _encoded(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GREY = DataConfig(dataset="fashion-mini", img_size=16, workers=0)
RGB = DataConfig(
    dataset="imagenet",
    img_size=16,
    in_chans=3,
    workers=0,
    auto_augment="rand-m9-n2",
    scale=(0.1, 1.0),
)


def read_as_sample(path: Path) -> None:
    """As a train and a test sample of a folder of images, as a picture for `predict` and
    `attention`.
    """
    image, _ = FileImages(path.parent, [path.name], np.zeros(1), ["one"])[0]
    for cfg in (GREY, RGB):
        assert (
            train_transform(cfg)(image).shape
            == eval_transform(cfg)(image).shape
            == (cfg.in_chans, 16, 16)
        )
    assert read_image(path, RGB).shape == (1, 3, 16, 16)
    assert read_picture(path).mode == "RGB"


@COUNT
def test_pictures(count: int, tmp_path: Path) -> None:
    assert (
        0.1 * count
        < survive(pictures(), tmp_path / "picture.jpg", read_as_sample, count)
        < 0.9 * count
    )


def _png_header(width: int, height: int) -> bytes:
    """A small PNG that says it is this large."""
    content = bytearray(_encoded(photo(0), "png", {}))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    ("width", "height"),
    [(30_000, 30_000), (10_000, 10_000), (2**31 - 1, 1), (1, 20_000), (3000, 20)],
)
def test_sizes_that_would_need_gigabytes(width: int, height: int, tmp_path: Path) -> None:
    """In all, or after the short side has been resized to that of the network."""
    (tmp_path / "large.png").write_bytes(_png_header(width, height))
    for read in (read_as_sample, read_picture):
        with pytest.raises(DataError, match=r"large\.png.*(pixels|exceeds limit)"):
            read(tmp_path / "large.png")


def test_a_program_is_no_picture(tmp_path: Path) -> None:
    """PostScript would be run by Ghostscript, whatever the file is called."""
    buffer = io.BytesIO()
    photo(0).save(buffer, "eps")
    (tmp_path / "picture.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="cannot identify"):
        read_as_sample(tmp_path / "picture.jpg")


def read_recording(path: Path) -> None:
    events = read_events(path, 128, 128)
    if len(events):
        assert to_frames(events, config_for("cifar10-dvs", time_steps=4)).shape[0] == 4


@COUNT
def test_recordings(count: int, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    path = tmp_path / "recording"
    files = [write_aedat2(path, scattered(50, draws)).read_bytes()]
    files.append(write_aedat31(path, scattered(50, draws), per_packet=7).read_bytes())
    for number in (0, 30):
        save_events(path, random_events(number))
        files.append(path.read_bytes())
    assert survive(files, path, read_recording, count) > 0.05 * count


@COUNT
def test_recordings_whose_archive_is_whole(count: int, tmp_path: Path) -> None:
    """The damage is in an array's header or values, and the archive's checksum agrees with it."""
    draws, events = random.Random(count), random_events(30)

    def written(name: str) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, np.int64(128) if name in ("height", "width") else getattr(events, name))
        return buffer.getvalue()

    arrays = {name: written(name) for name in ("t", "x", "y", "p", "height", "width")}
    for _ in range(count):
        changed = {
            **arrays,
            (name := draws.choice(list(arrays))): with_wrong_bytes(arrays[name], draws),
        }
        path = tmp_path / "events.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in changed.items():
                archive.writestr(f"{name}.npy", content)
        try:
            with no_longer_than(10):
                read_recording(path)
        except SpikedrivenError as error:
            assert path.name in str(error)


@COUNT
def test_frames(count: int, tmp_path: Path) -> None:
    buffers = []
    for dtype in (np.uint8, np.float64):
        buffers.append(io.BytesIO())
        np.save(buffers[-1], np.ones((4, 2, 8, 8), dtype))
    files = [buffer.getvalue() for buffer in buffers]
    survive(files, tmp_path / "f.npy", lambda path: read_frames(path, 2), count)


@COUNT
def test_idx_files(count: int, tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    for name in ("images", "images.gz"):
        write_idx(tmp_path / name, array)
        survive(
            [(tmp_path / name).read_bytes()],
            tmp_path / name,
            lambda path: read_idx(path, (4, 4, 4)),
            count // 2,
        )


def test_a_few_bytes_that_stand_for_gigabytes(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "images.gz", "wb", compresslevel=1) as file:
        for _ in range(48):
            file.write(bytes(16 << 20))
    with pytest.raises(DataError, match="more than 80 bytes"):
        read_idx(tmp_path / "images.gz", (4, 4, 4))


@COUNT
def test_frame_cache(count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged entry is made again; what is read from a good one is what was stored."""
    source = tmp_path / "source"
    source.write_bytes(b"recording")
    cache, frames = (
        FrameCache((tmp_path / "cache",), {}),
        np.arange(64, dtype=np.float32).reshape(2, 2, 4, 4),
    )
    cache.store(source, file_stamp(source), frames)
    (entry,) = (tmp_path / "cache").rglob("*.npz")

    def load(_path: Path) -> None:
        found = cache.load(source)
        assert found is None or np.array_equal(found, frames)

    survive([entry.read_bytes()], entry, load, count)


@COUNT
def test_shards(count: int, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w:") as tar:
        for name, content in (
            ("a.png", pictures()[1]),
            ("a.cls", b"1"),
            ("b.jpg", b"x"),
            ("b.cls", b"0"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    survive([(tmp_path / "s.tar").read_bytes()], tmp_path / "s.tar", read_index, count)


@COUNT
def test_coco_annotations(count: int, tmp_path: Path) -> None:
    root = coco_files.write(tmp_path) / "coco"
    path = root / "annotations" / "instances_val2017.json"

    def read(path: Path) -> None:
        for training in (False, True):
            dataset = CocoInstances(root / "val2017", path, training)
            for index in range(len(dataset)):
                try:
                    dataset[index]
                except DataError as error:  # of a picture: the message names that one
                    assert "val2017" in str(error)

    text = json.dumps(coco_files.content()).encode()
    survive([text], path, read, count, b'0123456789-.e"[]{},:ntf ')


@pytest.mark.parametrize("value", [1e9, -1e9, 1e300, float("nan"), float("inf")])
def test_polygons_that_would_take_for_ever(value: float, tmp_path: Path) -> None:
    content = coco_files.content()
    content["annotations"][0]["segmentation"] = [[10.0, 5.0, value, 5.0, 30.0, value]]
    root = coco_files.write(tmp_path, content) / "coco"
    dataset = CocoInstances(
        root / "val2017", root / "annotations" / "instances_val2017.json", False
    )
    with no_longer_than(5), pytest.raises(DataError, match=r"annotation 1: .*far outside"):
        dataset[0]


def test_run_lengths_at_random(tmp_path: Path) -> None:
    """In the text form, which C code reads."""
    draws, height, width = random.Random(0), *coco_files.SIZE
    for _ in range(500):
        text = "".join(chr(draws.randrange(48, 112)) for _ in range(draws.choice((1, 3, 10, 60))))
        content = coco_files.content()
        content["annotations"] = [
            {**content["annotations"][1], "segmentation": {"size": [height, width], "counts": text}}
        ]
        path = tmp_path / "i.json"
        path.write_text(json.dumps(content))
        entry = (dataset := CocoInstances(tmp_path, path, False)).images[0]
        try:
            assert dataset._mask(entry.annotations[0], entry).shape == coco_files.SIZE
        except DataError as error:
            assert "annotation 2: its segmentation is neither" in str(error)


@COUNT
@pytest.mark.parametrize("zipped", [True, False])
def test_clips_in_files_of_pytorch(zipped: bool, count: int, tmp_path: Path) -> None:
    folder = tmp_path / "cifar10-dvs-tet" / "train"
    folder.mkdir(parents=True)
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 16, 16, 4))).float()
    torch.save((clip, torch.tensor([3])), folder / "0.pt", _use_new_zipfile_serialization=zipped)
    cfg = config_for("cifar10-dvs-tet", root=tmp_path, time_steps=4, img_size=8)
    content = (folder / "0.pt").read_bytes()
    survive(
        [content],
        folder / "0.pt",
        lambda _path: create_dataset(cfg, "train")[0],
        count,
        None,
        "0.pt",
    )


def test_lists_of_recordings(tmp_path: Path) -> None:
    gesture, har = write_gesture(tmp_path, events=20), write_har(tmp_path)
    letters = b"0123456789,. \n/\\\xc2\xb2-ab"
    for dataset, path in (
        ("dvs128-gesture", gesture / "trials_to_test.txt"),
        ("dvs128-gesture", gesture / "user00_test_labels.csv"),
        ("har-dvs", har / "test_label.txt"),
    ):
        cfg = config_for(dataset, root=tmp_path, time_steps=4).unkept()
        content = path.read_bytes()
        survive(
            [content],
            path,
            lambda _path, cfg=cfg: _first_clip(cfg, "test"),
            60,
            letters,
            path.parent.name,
        )
        path.write_bytes(content)


@pytest.mark.parametrize(
    "line", ["train_000 5 \u00b2", "train_000 \u0665 1", f"train_000 5 {'1' * 5000}"]
)
def test_digits_that_are_no_numbers(line: str, tmp_path: Path) -> None:
    """A superscript two, an Arabic five (which Python reads), a number that Python refuses to
    read.
    """
    (write_har(tmp_path) / "train_label.txt").write_text(line, encoding="utf-8")
    cfg = config_for("har-dvs", root=tmp_path)
    if "\u0665" in line:
        assert len(create_dataset(cfg, "train")) == 6
        return
    with pytest.raises(DataError, match=r"train_label\.txt, line 1: expected 'path number label'"):
        create_dataset(cfg, "train")


def _first_clip(cfg: EventDataConfig, split: str) -> None:
    try:
        create_dataset(cfg, split)[0]
    except DataError as error:
        if "no events" not in str(error):  # a span of time in which nothing happens
            raise
