"""The example in the docstring of every public function runs, and prints what it says."""

import doctest

import pytest

import spikedriven as sd

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", sd.__all__)
def test_the_example_of_a_public_function(name: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(sd, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert test.examples, f"{name} has no example"
    told: list[str] = []
    ran = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append)
    assert ran.failed == 0, "".join(told)
