"""The dispatcher: statuses, messages without tracebacks, lazy imports."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

from spikedriven.cli import COMMANDS, main
from spikedriven.errors import DataError


def plant(monkeypatch: pytest.MonkeyPatch, run) -> None:
    module = types.ModuleType("spikedriven.cli.planted")
    module.run = run
    monkeypatch.setitem(sys.modules, "spikedriven.cli.planted", module)
    monkeypatch.setitem(COMMANDS, "planted", "a command of this test")


def raises(error: BaseException):
    def run(argv: list[str]) -> int:
        raise error

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_its_help_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"spikedriven.cli.{name}")
    assert f"spikedriven {name}" in module.__doc__
    assert main([name, "--help"]) == 0
    assert f"spikedriven {name}" in capsys.readouterr().out


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from spikedriven import __version__

    assert main(["--version"]) == 0 and capsys.readouterr().out.strip() == __version__


def test_an_unknown_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "unknown command 'trian'" in capsys.readouterr().err


def test_our_errors_are_one_message_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, raises(DataError("the file is gone")))
    assert main(["planted"]) == 2
    assert capsys.readouterr().err == "spikedriven planted: the file is gone\n"


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["planted"])


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (SystemExit(3), 3), (SystemExit(None), 0)]
)
def test_statuses(monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int) -> None:
    plant(monkeypatch, raises(error))
    assert main(["planted"]) == status


def test_a_reader_that_goes_away_is_no_error() -> None:
    root = Path(__file__).parents[2] / "src"
    program = (
        "import spikedriven.cli, sys; sys.exit(spikedriven.cli.main(['train', 'quickstart', "
        "'--show']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), errors) == (141, b"")
