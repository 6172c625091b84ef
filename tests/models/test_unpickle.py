"""Files of weights: what harmless things may stand in them, and one error for each that is
something else."""

import argparse
import gzip
import io
import json
import pathlib
import pickle
import struct
import sys
import tarfile
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import spikedriven as sd
from spikedriven.errors import CheckpointError
from spikedriven.models.official import bytes_of
from spikedriven.models.unpickle import COPIES, ROOM, read_file

SMALL = {"embed_dim": 32, "depth": 1}
WEIGHTS = {"a": torch.arange(6.0)}


def compressed(path, content):
    """What torch.save writes, with every member deflated."""
    torch.save(content, path)
    members = {info.filename: info for info in zipfile.ZipFile(path).infolist()}
    data = {name: zipfile.ZipFile(path).read(name) for name in members}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in data.items():
            archive.writestr(name, content)
    return path


def test_a_small_file_that_unpacks_to_more_than_the_network_needs(tmp_path):
    model = sd.create_model("sdt_2_256_cifar", **SMALL)
    large = {
        **model.state_dict(),
        "more": torch.zeros((ROOM + (COPIES + 1) * bytes_of(model)) // 4),
    }
    path = compressed(tmp_path / "bomb.pth", {"state_dict": model.state_dict(), "optimizer": large})
    assert path.stat().st_size < 1e6
    tracemalloc.start()
    with pytest.raises(
        CheckpointError, match=r"bomb\.pth was refused: its 0\.\d MB would unpack to .* save its"
    ):
        sd.load_official(model, path)
    assert tracemalloc.get_traced_memory()[1] < 10e6, "refused before anything is unpacked"
    tracemalloc.stop()


def test_a_compressed_file_of_the_right_size_is_read(tmp_path):
    model = sd.create_model("sdt_2_256_cifar", **SMALL)
    moments = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    path = compressed(
        tmp_path / "w.pth", {"state_dict": model.state_dict(), "optimizer": [moments, moments]}
    )
    assert sd.load_official(sd.create_model("sdt_2_256_cifar", **SMALL), path).loaded


def test_the_same_data_named_many_times(tmp_path):
    """A directory whose entries all point to one place: the file is small without being
    compressed."""
    torch.save({"a": torch.zeros(250_000)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        entry = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
        for number in range(1, 100):
            again = zipfile.ZipInfo(entry.filename[:-1] + str(number))
            again.header_offset, again.file_size, again.compress_size, again.CRC = (
                entry.header_offset, entry.file_size, entry.compress_size, entry.CRC,
            )  # fmt: skip
            archive.filelist.append(again)
        archive._didModify = True
    with pytest.raises(CheckpointError, match="would unpack to 100"):
        read_file(tmp_path / "w.pth")


def test_an_old_file_that_claims_more_than_it_has(tmp_path):
    """Before PyTorch 1.6 the sizes stood in a pickle, and the numbers behind it."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, buffer, _use_new_zipfile_serialization=False)
    claimed = buffer.getvalue().replace(
        b"M\xe8\x03", b"J\x00\x00\x00\x70"
    )  # 1000 -> 1.9e9 elements
    assert claimed != buffer.getvalue()
    (tmp_path / "w.pth").write_bytes(claimed)
    with pytest.raises(
        CheckpointError, match=r"w\.pth (is truncated or no checkpoint|was refused)"
    ):
        read_file(tmp_path / "w.pth")


class Harmless:
    """Objects that training scripts store beside the weights."""

    @staticmethod
    def history(monkeypatch):
        """As MMEngine's message hub, whose class is not installed here."""
        names = ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer")
        for name in names:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        kind = type("HistoryBuffer", (), {"__module__": names[-1]})
        sys.modules[names[-1]].HistoryBuffer = kind
        buffer = kind()
        buffer._log_history, buffer._count_history, buffer.max_length = (
            np.ones(5),
            np.ones(5, dtype=np.int64),
            100,
        )
        return buffer


def test_harmless_things_beside_the_weights(tmp_path, monkeypatch):
    beside = {
        "args": argparse.Namespace(lr=1e-3, output=pathlib.Path("out"), seed=None),
        "numbers": [np.float64(77.1), np.float32(1.5), np.int64(3), np.bool_(True)],
        "curve": np.arange(4.0),
        "message_hub": {"log_scalars": {"train/loss": Harmless.history(monkeypatch)}},
    }
    torch.save({"state_dict": WEIGHTS, **beside}, tmp_path / "w.pth")
    for name in [name for name in sys.modules if name.startswith("mmengine")]:
        monkeypatch.delitem(sys.modules, name)
    content = read_file(tmp_path / "w.pth")
    assert torch.equal(content["state_dict"]["a"], WEIGHTS["a"]) and content["args"].lr == 1e-3
    assert content["numbers"] == [77.1, 1.5, 3, True]


def test_arrays_are_no_weights(tmp_path):
    torch.save({"head.weight": np.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"other entries \['head\.weight'\]"):
        sd.load_official(sd.create_model("sdt_2_256_cifar", **SMALL), tmp_path / "w.pth")


def test_a_whole_network_is_refused_without_advice_to_run_it(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=r"was refused: .*\(torch\.nn\.modules\.linear\.Linear\)"
    ) as caught:
        read_file(tmp_path / "net.pth")
    assert "weights_only" not in str(caught.value) and "Save its state dict alone" in str(
        caught.value
    )


def packed(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def tar(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"), io.BytesIO())


def other_zip(buffer):
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.pth", b"x")


def header(content, size=None):
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


OTHERS = {
    "quota page": (
        b"<!DOCTYPE html><html><body>Quota exceeded</body></html>",
        "is a web page, not a checkpoint",
    ),
    "page with spaces": (b"\n  <html>", "is a web page, not a checkpoint"),
    "gzip": (gzip.compress(b"x"), "is a gzip archive.*unpack it"),
    "tar": (packed(tar), "is a tar archive.*unpack it"),
    "RAR": (b"Rar!\x1a\x07", "is a RAR archive"),
    "zip of a file": (
        packed(other_zip),
        "is a zip archive, and no checkpoint of torch.save: unpack it",
    ),
    "empty": (b"", "is truncated or no checkpoint"),
    "text": (b"hello world", "was refused: it is no checkpoint of torch.save"),
    "list": (packed(lambda b: torch.save([1, 2], b)), "holds a list, expected a state dict"),
    "tensor": (
        packed(lambda b: torch.save(torch.ones(2), b)),
        "holds a Tensor, expected a state dict",
    ),
    "pickle": (pickle.dumps({"a": 1}, protocol=4), "was refused|is truncated"),
    "safetensors cut": (
        header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
        "not a readable safetensors",
    ),
    "safetensors long": (header({}, 2**40), "not a readable safetensors"),
    "safetensors type": (
        header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 4,
        "not a readable safetensors",
    ),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", OTHERS)
def test_one_error_says_what_a_file_is(kind, tmp_path):
    content, message = OTHERS[kind]
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"file\.pth.*({message})"):
        read_file(tmp_path / "file.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_programs_and_folders(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "program.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program, not a checkpoint"):
        read_file(tmp_path / "program.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint file"):
        read_file(tmp_path / "absent.pth")


@pytest.mark.parametrize("keep", [0, 7, 8, 40, -1, -30])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_truncated_files(kind, keep, tmp_path):
    path = tmp_path / "w.pth"
    if kind == "safetensors":
        safetensors.torch.save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        read_file(path)
