"""Transfers against a server that behaves as Google Drive: its pages, broken connections, and what
comes instead."""

import random
import sys

import pytest

from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.download import RETRIES, download, needs_browser
from tests.models.drive import LOGIN, QUOTA, serve

#: gdown keeps whole pieces of half a megabyte.
PIECE = 512 * 1024
CUT = PIECE + 1000
CONTENT = random.Random(1).randbytes(5 * PIECE)
LINK = "https://drive.google.com/file/d/{}/view?usp=sharing"


@pytest.fixture
def drive(monkeypatch):
    with serve(monkeypatch) as running:
        running.files["large_1"] = CONTENT
        yield running


def parts(folder):
    return sorted(path.name for path in folder.glob("*.part"))


@pytest.mark.parametrize(
    "url",
    [
        LINK.format("large_1"),
        "https://drive.google.com/file/d/large_1/view?usp=drive_link",
        "https://drive.google.com/open?id=large_1",
        "https://drive.google.com/uc?id=large_1&export=download",
    ],
)
def test_a_large_file_comes_after_the_confirmation_page(url, drive, tmp_path):
    assert download(url, tmp_path / "new" / "file").read_bytes() == CONTENT
    hosts = [host for host, _, _ in drive.asked]
    assert hosts == ["drive.google.com", "drive.usercontent.google.com"]
    assert not parts(tmp_path / "new")


def test_a_small_file_comes_at_once(drive, tmp_path):
    drive.small.add("large_1")
    assert download(LINK.format("large_1"), tmp_path / "file").read_bytes() == CONTENT
    assert len(drive.asked) == 1


def test_a_broken_transfer_goes_on_where_it_broke(drive, tmp_path):
    drive.breaks = [CUT, CUT]
    assert download(LINK.format("large_1"), tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, _, wanted in drive.asked if wanted] == [
        f"bytes={PIECE}-",
        f"bytes={2 * PIECE}-",
    ]


def test_the_next_call_goes_on_where_the_last_one_gave_up(drive, tmp_path):
    drive.breaks = [CUT] * (RETRIES + 1)
    with pytest.raises(
        CheckpointError, match=r"What has arrived is kept, and the next call goes on"
    ):
        download(LINK.format("large_1"), tmp_path / "file")
    kept = PIECE * (RETRIES + 1)
    assert not (tmp_path / "file").exists() and len(parts(tmp_path)) == 1
    assert (tmp_path / parts(tmp_path)[0]).stat().st_size == kept
    drive.asked.clear()
    assert download(LINK.format("large_1"), tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, _, wanted in drive.asked if wanted] == [f"bytes={kept}-"] and not parts(
        tmp_path
    )


def test_a_server_that_cannot_go_on_does_not_spoil_the_file(drive, tmp_path):
    drive.breaks, drive.ranges = [CUT], False
    with pytest.raises(
        CheckpointError, match="could not be fetched: Server did not honor the requested byte range"
    ):
        download(LINK.format("large_1"), tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            QUOTA,
            r"Too many users have viewed or downloaded this file recently\. Often .* held back for "
            r"a day",
        ),
        (LOGIN, "Cannot retrieve the public link of the file.* made it private"),
    ],
)
def test_pages_of_drive_instead_of_a_file(page, message, drive, tmp_path):
    drive.pages["held_1"] = page
    with pytest.raises(
        CheckpointError, match=f"Google Drive gives no file at .*held_1.*: {message}"
    ) as caught:
        download(LINK.format("held_1"), tmp_path / "file")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_file_that_is_gone(drive, tmp_path):
    with pytest.raises(CheckpointError, match="Google Drive gives no file at"):
        download(LINK.format("absent_1"), tmp_path / "file")
    with pytest.raises(
        CheckpointError, match=r"https://example\.org/absent\.pth could not be fetched: 404"
    ):
        download("https://example.org/absent.pth", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_plain_link(drive, tmp_path):
    drive.files["example.org/weights/w.pth"] = CONTENT
    drive.breaks = [CUT]
    assert download("https://example.org/weights/w.pth", tmp_path / "file").read_bytes() == CONTENT
    assert drive.asked[-1] == ("example.org", "/weights/w.pth", f"bytes={PIECE}-")


def test_a_page_instead_of_a_file_is_not_kept(drive, tmp_path):
    drive.pages["example.org/w.pth"] = LOGIN
    with pytest.raises(CheckpointError, match=r"w\.pth gave a web page in place of the file"):
        download("https://example.org/w.pth", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_fetched_again(drive, tmp_path):
    (tmp_path / "file").write_bytes(b"whole")
    assert download(LINK.format("large_1"), tmp_path / "file").read_bytes() == b"whole"


def test_links_that_are_not_fetched(drive, tmp_path):
    with pytest.raises(InputError, match="expected a link that begins with https://"):
        download("http://example.org/w.pth", tmp_path / "file")
    with pytest.raises(InputError, match="names no file"):
        download("https://drive.google.com/drive/my-drive", tmp_path / "file")
    assert not drive.asked


def test_without_gdown(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(InputError, match=r"needs gdown: pip install 'spikedriven\[fetch\]'"):
        download(LINK.format("large_1"), tmp_path / "file")


def test_with_an_old_gdown(tmp_path, monkeypatch):
    monkeypatch.setattr("gdown.download", lambda url, output, quiet, resume: output)
    with pytest.raises(InputError, match=r"too old: pip install --upgrade 'spikedriven\[fetch\]'"):
        download(LINK.format("large_1"), tmp_path / "file")


def test_links_that_need_a_browser():
    assert "the password is abcd" in needs_browser("https://pan.baidu.com/s/1LsECp?pwd=abcd")
    assert (
        needs_browser("https://pan.baidu.com/s/1LsECp") == "Baidu gives its files to browsers only"
    )
    assert "leads to a folder" in needs_browser(
        "https://drive.google.com/drive/folders/12Jc?usp=sharing"
    )
    assert not needs_browser(LINK.format("large_1")) and not needs_browser(
        "https://example.org/w.pth"
    )
