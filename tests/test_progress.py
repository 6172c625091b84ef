"""Progress bars where they are watched: terminals, notebooks."""

import importlib.util
import warnings

import pytest
import rich.console

from spikedriven.progress import progress_bar


def test_every_item_comes_through(capsys: pytest.CaptureFixture[str]):
    assert list(progress_bar(iter(range(5)), "counting")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out == ""


def test_a_notebook_without_widgets_gets_a_line_of_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = importlib.util.find_spec

    def without_widgets(name: str, *rest: str) -> object:
        return None if name == "ipywidgets" else found(name, *rest)

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", without_widgets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rich warns where it draws nothing
        assert list(progress_bar([1, 2], "counting")) == [1, 2]
    assert "counting" in capsys.readouterr().err
