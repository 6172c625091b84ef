"""`make test-isa`: which sets are played, what pytest is told, and that nothing that failed is
counted as passed.
"""

from pathlib import Path

import pytest
import test_isa

ROOT = Path(__file__).parents[2]


def test_files_and_tests_that_are_left_out_exist():
    for name in (*test_isa.NO_ROUNDING, *test_isa.ONCE_PER_SET, *test_isa.SUITES):
        assert (ROOT / "tests" / name).exists(), name
    file, _, name = test_isa.COMPILED.partition("::")
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize(
    ("printed", "sets"),
    [
        ("avx2 portable", ["portable", "avx2"]),
        ("portable", ["portable"]),
        ("default", ["portable"]),
    ],
)
def test_sets_up_to_the_widest_of_the_machine(printed, sets, monkeypatch):
    asked = []

    def answer(command, env, **_options):
        asked.append(env)
        return test_isa.subprocess.CompletedProcess(command, 0, printed)

    monkeypatch.setenv("SPIKEDRIVEN_ISA", "avx2")
    monkeypatch.setattr(test_isa.subprocess, "run", answer)
    assert test_isa.playable() == sets and "SPIKEDRIVEN_ISA" not in asked[0]


def test_order_and_suites():
    one, two = test_isa.arguments(1, 7), test_isa.arguments(2, 7)
    assert "--randomly-seed=7" in one and "tests/golden" in one and "tests/golden" not in two
    assert one[one.index("-n") + 1] == "2" and two[two.index("-n") + 1] == "0"


@pytest.mark.parametrize(
    ("last", "status", "counts"),
    [
        ("1350 passed, 163 skipped in 225.97s (0:03:45)", 0, (1350, 0)),
        ("2 failed, 1348 passed, 1 skipped, 3 errors in 9s", 1, (1348, 5)),
        ("no tests ran in 0.01s", 5, (0, 1)),
        ("12 passed in 1s", 2, (12, 1)),
        ("", 3, (0, 1)),
    ],
)
def test_a_run_that_broke_off_has_failed_whatever_it_says(last, status, counts, tmp_path):
    (tmp_path / "log").write_text(f"FAILED something\n{last}")
    found = test_isa.read(tmp_path / "log", status, 1.0)
    assert (found.passed, found.failed) == counts


@pytest.mark.parametrize(("failed", "status"), [(0, 0), (2, 1)])
def test_status_and_total(failed, status, monkeypatch, capsys):
    ran = []
    outcome = test_isa.Outcome(5, failed, 1.0)
    monkeypatch.setattr(test_isa, "run", lambda *given: ran.append(given) or outcome)
    monkeypatch.setattr("sys.argv", ["test_isa.py", "--sets", "portable", "avx2", "--seed", "3"])
    assert test_isa.main() == status
    assert ran == [("portable", 1, 3), ("avx2", 1, 3), ("portable", 2, 3), ("avx2", 2, 3)]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"20 passed, {4 * failed} failed"
