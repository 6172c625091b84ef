"""Files that were made to do harm: pickles with code in them, and names that lead out of a
folder.
"""

import dataclasses
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spikedriven.cli import main
from spikedriven.data import config_for, create_dataset
from spikedriven.data.detection.coco import CocoInstances
from spikedriven.data.segmentation.sets import open_voc
from spikedriven.data.tar_index import read_index
from spikedriven.errors import CheckpointError, DataError
from spikedriven.models import create_model, load_official
from spikedriven.models.containers import read_packed
from spikedriven.recipes.types import DistillConfig
from spikedriven.runs.checkpoint import CheckpointStore, read_checkpoint
from spikedriven.runs.start import start_from
from spikedriven.runs.target import load_checkpoint
from spikedriven.tasks import TASKS
from spikedriven.tasks.distillation import load_teacher
from tests.data.detection import coco_files
from tests.data.events.sets import write_gesture, write_har
from tests.data.segmentation.folders import make_voc
from tests.networks import shrunk
from tests.runs.test_checkpoint import checkpoint
from tests.tasks.toys import classifier, recipe
from tests.training.toys import ToyTask

NAME = "sdt_2_256_cifar"


class Hostile:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.mark,)


def model() -> torch.nn.Module:
    return create_model(NAME, **shrunk(NAME))


def teacher(path: Path) -> None:
    base = recipe(classifier(), "distillation")
    load_teacher(
        dataclasses.replace(
            base, distill=DistillConfig(teacher="timm/test_resnet", checkpoint=path)
        )
    )


READERS: dict[str, Callable[[Path], object]] = {
    "load_official": lambda path: load_official(model(), path),
    "read_packed": read_packed,
    "model.init": lambda path: start_from(model(), str(path), strict=False),
    "--checkpoint": lambda path: load_checkpoint(NAME, path, {}),
    "distill.checkpoint": teacher,
}


def contents(kind: str, mark: Path) -> bytes:
    """Files whose readers would run code: what torch writes (now and before 1.6), and a plain
    pickle.
    """
    harm, buffer = Hostile(mark), io.BytesIO()
    if kind == "plain":
        return pickle.dumps(harm)
    what = {
        "whole": harm,
        "entry": {"state_dict": {"head.weight": torch.zeros(2, 2), "epoch": harm}},
    }
    torch.save(
        what[kind.removesuffix(" old")],
        buffer,
        _use_new_zipfile_serialization=not kind.endswith(" old"),
    )
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pth.tar", ".bin", ".safetensors", ""])
@pytest.mark.parametrize("kind", ["plain", "whole", "entry", "whole old", "entry old"])
@pytest.mark.parametrize("reader", READERS)
def test_pickles_with_code_are_refused(reader: str, kind: str, ending: str, tmp_path: Path) -> None:
    path, mark = tmp_path / f"weights{ending}", tmp_path / "owned"
    path.write_bytes(contents(kind, mark))
    with pytest.raises(
        CheckpointError, match=r"weights.*(refused|truncated or no checkpoint|safetensors)"
    ):
        READERS[reader](path)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["plain", "whole", "entry", "whole old", "entry old"])
def test_the_state_of_a_checkpoint_is_no_exception(kind: str, tmp_path: Path) -> None:
    """Sizes and checksums are right: the whole folder comes from somebody else."""
    folder, mark = CheckpointStore(tmp_path).save(1, checkpoint(1.0)), tmp_path / "owned"
    data = contents(kind, mark)
    (folder / "state.pt").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["state.pt"] = {"bytes": len(data), "crc32": zlib.crc32(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("convert", NAME, "FILE", "OUT"),
        ("eval", NAME, "--checkpoint", "FILE", "--data", "fashion-mini", "--img-size", "32"),
    ],
)
def test_commands_say_so_in_one_message(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "owned"
    (tmp_path / "weights.pth").write_bytes(contents("entry", mark))
    places = {"FILE": str(tmp_path / "weights.pth"), "OUT": str(tmp_path / "out.safetensors")}
    assert main([places.get(word, word) for word in command]) == 2
    assert "refused" in capsys.readouterr().err and not mark.exists()


# Names that lead out of a folder
# -----------------------------------------------------------------------------------

NAMES = ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "a\\..\\..\\b", "a/\x00b"]


def gesture(root: Path, name: str) -> None:
    (write_gesture(root, events=20) / "trials_to_train.txt").write_text(f"{name}\n")
    create_dataset(config_for("dvs128-gesture", root=root), "train")


def har(root: Path, name: str) -> None:
    (write_har(root) / "train_label.txt").write_text(f"{name} 5 0\n")
    create_dataset(config_for("har-dvs", root=root), "train")


def voc(root: Path, name: str) -> None:
    (make_voc(root) / "ImageSets" / "Segmentation" / "train.txt").write_text(f"{name}\n")
    open_voc(root, "train")


def coco(root: Path, name: str) -> None:
    content = coco_files.content()
    content["images"][0]["file_name"] = name
    folder = coco_files.write(root, content) / "coco"
    CocoInstances(folder / "val2017", folder / "annotations" / "instances_val2017.json", False)


def shard(root: Path, name: str) -> None:
    """Names in a tar end at a zero byte."""
    with tarfile.open(root / "s.tar", "w:") as tar:
        tar.addfile(tarfile.TarInfo(name.replace("\x00", "\\")), io.BytesIO(b""))
    read_index(root / "s.tar")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("read", [gesture, har, voc, coco, shard])
def test_names_that_lead_out_of_the_folder(
    read: Callable[[Path, str], None], name: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"expected a path below|leads out of") as caught:
        read(tmp_path, name)
    assert str(tmp_path) in str(caught.value)


def test_a_manifest_names_files_of_its_own_folder_only(tmp_path: Path) -> None:
    secret = tmp_path / "model.safetensors"
    folder = CheckpointStore(tmp_path).save(1, checkpoint(1.0))
    secret.write_bytes((folder / "model.safetensors").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["../../model.safetensors"] = manifest.pop("model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"cannot be read|damaged"):
        read_checkpoint(folder)


# Newest checkpoint damaged
# -----------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "flipped bit": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "ema.safetensors", "state.pt", "manifest.json"]
)
def test_every_file_of_the_newest_checkpoint_may_be_damaged(
    name: str,
    damage: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run goes on from the one before, and says so."""
    from tests.training.toys import toy_recipe, train

    monkeypatch.setitem(TASKS, "toy", ToyTask)
    whole, _ = train(toy_recipe({"ema": 0.9}), tmp_path / "whole")
    train(toy_recipe({"ema": 0.9, "checkpoint_steps": 4, "max_steps": 9}), tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / "checkpoints" / "step_00000009" / name)
    resumed, outcome = train(toy_recipe({"ema": 0.9}), tmp_path / "run", resume=True)
    told = [message for message in caplog.messages if "falling back" in message]
    assert outcome.step == 18 and len(told) == 1
    assert "step_00000009" in told[0]
    for key, value in whole.learner.net.state_dict().items():
        assert torch.equal(value, resumed.learner.net.state_dict()[key])
