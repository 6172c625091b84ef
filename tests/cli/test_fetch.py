"""`spikedriven fetch`: whose file it is, what is refused, and the stored file in the hands of the
other commands."""

import argparse
import functools
import io
from pathlib import Path

import pytest
import torch

import spikedriven as sd
from spikedriven.cli import main
from spikedriven.errors import CheckpointError, InputError
from spikedriven.models import official_state_dict, tags
from spikedriven.models.authors import authors_folder, stored_path
from spikedriven.models.header import read_header
from spikedriven.models.tags import PublishedFile
from spikedriven.runs.target import Target, load_target
from tests.models.drive import QUOTA, serve
from tests.networks import enliven

NAME = "e_spikeformer_fashion"
TAG = f"{NAME}.drive"
LINKS = {
    "drive": "https://drive.google.com/file/d/file_1/view?usp=sharing",
    "plain": "https://example.org/w.pth",
    "baidu": "https://pan.baidu.com/s/1LsECp?pwd=abcd",
    "folder": "https://drive.google.com/drive/folders/12Jc",
    "private": "",
}


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """The server with a file of the network, a tag for each kind of link, and a cache of its
    own."""
    monkeypatch.setenv("SPIKEDRIVEN_CACHE", str(tmp_path / "cache"))
    for tag, url in LINKS.items():
        file = PublishedFile(
            name=NAME,
            tag=tag,
            args={"levels": 8},
            dataset="fashion-mnist",
            num_classes=10,
            input_size=(1, 28, 28),
            source="README of their repository",
            url=url,
            filename="best.pth",
            licence="CC BY 4.0",
        )
        monkeypatch.setitem(tags._FILES, file.full_name, file)
    with serve(monkeypatch) as running:
        running.files["file_1"] = running.files["example.org/w.pth"] = saved(
            {"state_dict": theirs()}
        )
        yield running


@functools.cache
def network(seed=3):
    """Only read."""
    return enliven(sd.create_model(NAME, levels=8), seed).eval()


def theirs(seed=3):
    return {f"module.{key}": value for key, value in official_state_dict(network(seed)).items()}


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def same(model, expected):
    weights = expected.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_file_is_fetched_checked_and_used(drive, capsys):
    assert main(["fetch", TAG]) == 0
    said = capsys.readouterr().out
    for words in (
        "README of their repository",
        LINKS["drive"],
        "CC BY 4.0",
        "prefix module.",
        "--checkpoint authors",
    ):
        assert words in said, words
    assert said.index("CC BY 4.0") < said.index("tensors loaded"), "the terms come first"
    assert [path.name for path in authors_folder().iterdir() if path.is_file()] == [
        f"{TAG}.safetensors"
    ]
    assert not (authors_folder() / "downloads" / TAG).exists()
    found = read_header(stored_path(TAG))
    assert (found.name, found.tag, found.args["levels"], found.converted_from) == (
        NAME,
        "drive",
        8,
        "best.pth",
    )
    model = sd.create_model(TAG, pretrained="authors").eval()
    assert same(model, network()) and {
        m.levels for m in model.modules() if hasattr(m, "levels")
    } == {8}
    loaded = load_target(Target(TAG, checkpoint=Path("authors")))
    assert loaded.trained and same(loaded.model, network()) and loaded.keywords["levels"] == 8


def test_what_is_stored_is_not_fetched_again(drive, capsys):
    assert main(["fetch", TAG]) == 0
    drive.asked.clear()
    assert main(["fetch", TAG]) == 0 and not drive.asked
    assert "is stored already" in capsys.readouterr().out
    drive.files["file_1"] = saved(theirs(seed=4))
    assert main(["fetch", TAG, "--force"]) == 0
    assert same(sd.create_model(TAG, pretrained="authors"), network(4))


def test_a_plain_link_works_alike(drive):
    assert main(["fetch", f"{NAME}.plain"]) == 0
    assert same(sd.create_model(f"{NAME}.plain", pretrained="authors"), network())


def test_features_of_a_stored_file(drive):
    main(["fetch", TAG])
    x = torch.rand(1, 1, 28, 28)
    maps = sd.create_model(
        TAG, pretrained="authors", features_only=True, out_indices=(1, 2)
    ).eval()(x)
    expected = network().forward_intermediates(x, indices=(1, 2), intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_nothing_is_fetched_unasked(drive, capsys):
    for use in (
        lambda: sd.create_model(TAG, pretrained="authors"),
        lambda: load_target(Target(TAG, checkpoint=Path("authors"))),
    ):
        with pytest.raises(InputError, match=rf"is not on this machine .*spikedriven fetch {TAG}"):
            use()
    with pytest.raises(InputError, match=rf"{NAME} names a network; expected .*NAME\.TAG: {TAG}"):
        sd.create_model(NAME, pretrained="authors")
    with pytest.raises(InputError, match="expected False, True or 'authors', found 'ema'"):
        sd.create_model(NAME, pretrained="ema")
    assert main(["audit", TAG, "--checkpoint", "authors"]) == 2
    assert f"spikedriven fetch {TAG}" in capsys.readouterr().err and not drive.asked


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (
            "baidu",
            "Baidu gives its files to browsers only; the password is abcd. Open "
            "https://pan.baidu.com/s/1LsECp",
        ),
        ("folder", "the link leads to a folder"),
        (
            "private",
            "no link to e_spikeformer_fashion.private is public. If its authors gave you the file:",
        ),
    ],
)
def test_files_that_a_program_cannot_fetch_come_in_by_hand(tag, message, drive, tmp_path, capsys):
    name = f"{NAME}.{tag}"
    assert main(["fetch", name]) == 2
    error = capsys.readouterr().err
    assert (
        message in error
        and f"spikedriven fetch {name} --file DOWNLOADED" in error
        and not drive.asked
    )
    own = tmp_path / "downloaded.pth"
    own.write_bytes(drive.files["file_1"])
    assert main(["fetch", name, "--file", str(own)]) == 0
    assert own.exists() and same(sd.create_model(name, pretrained="authors"), network())
    assert main(["fetch", name, "--file", str(own)]) == 2
    assert "give --force to replace it" in capsys.readouterr().err


def test_the_quota_page_says_how_to_go_on(drive, capsys):
    drive.pages["file_1"] = QUOTA
    assert main(["fetch", TAG]) == 2
    error = capsys.readouterr().err
    assert (
        "Too many users" in error
        and f"in a browser, go on with: spikedriven fetch {TAG} --file DOWNLOADED" in error
    )
    assert not [path for path in authors_folder().rglob("*") if path.is_file()]


def test_a_broken_transfer_is_continued_by_the_next_fetch(drive, capsys):
    drive.files["file_1"] = saved({"state_dict": theirs(), "more": torch.zeros(600_000)})
    drive.breaks = [600_000] * 4
    assert main(["fetch", TAG]) == 2
    assert "the next call goes on from there" in capsys.readouterr().err
    drive.asked.clear()
    assert main(["fetch", TAG]) == 0
    assert [wanted for _, _, wanted in drive.asked if wanted] == [f"bytes={4 * 512 * 1024}-"]
    assert same(sd.create_model(TAG, pretrained="authors"), network())


class Hostile:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('owned').touch()",))


REFUSED = {
    "code": (
        lambda: saved({"state_dict": theirs(), "args": Hostile()}),
        "was refused: it holds more than tensors",
    ),
    "page": (
        lambda: b"<!DOCTYPE html><html>Sign in</html>",
        "gave a web page in place of the file",
    ),
    "cut off": (lambda: saved(theirs())[:-100], "is truncated or no checkpoint"),
    "no state dict": (lambda: saved({"args": argparse.Namespace(lr=1)}), "is no state dict"),
    "another network": (
        lambda: saved(sd.create_model("sdt_2_256_cifar", embed_dim=32).state_dict()),
        "does not fit|another",
    ),
    "overflow": (
        lambda: saved({k: v.double() * 1e300 if "head" in k else v for k, v in theirs().items()}),
        "values too large for torch.float32",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_a_plain_state_dict_of_the_network_is_not_stored(
    kind, drive, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    make, message = REFUSED[kind]
    drive.small.add("file_1")
    drive.files["file_1"] = make()
    assert main(["fetch", TAG]) == 2
    error = capsys.readouterr().err
    assert any(words in error for words in message.split("|"))
    assert not stored_path(TAG).exists() and not (tmp_path / "owned").exists()
    kept = authors_folder() / "downloads" / TAG / "best.pth"
    assert kept.exists() == (kind != "page") == (f"delete {kept}" in error)


def test_names(drive, capsys):
    assert main(["fetch", NAME]) == 2
    assert f"expected one of its authors' files, NAME.TAG: {TAG}" in capsys.readouterr().err
    assert main(["fetch", f"{NAME}.drivee"]) == 2
    assert f"known: {TAG}" in capsys.readouterr().err


def test_where_the_files_are(monkeypatch):
    monkeypatch.delenv("SPIKEDRIVEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert authors_folder() == Path("/somewhere/spikedriven/authors")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert authors_folder() == Path("~/.cache/spikedriven/authors").expanduser()


def test_a_cache_that_cannot_be_written(drive, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "own.pth").write_bytes(drive.files["file_1"])
    monkeypatch.setenv("SPIKEDRIVEN_CACHE", str(tmp_path / "file"))
    assert main(["fetch", TAG, "--file", str(tmp_path / "own.pth")]) == 2
    assert "name another folder with SPIKEDRIVEN_CACHE" in capsys.readouterr().err
    assert main(["fetch", TAG]) == 2
    assert "could not be fetched" in capsys.readouterr().err


def test_a_stored_file_that_was_damaged(drive):
    main(["fetch", TAG])
    stored_path(TAG).write_bytes(stored_path(TAG).read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        sd.create_model(TAG, pretrained="authors")
