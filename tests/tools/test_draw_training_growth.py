"""The figure of docs/training.md about growth: exponents, shared points, and a measurement of a
tiny step.
"""

import json

import draw_training_growth as growth
import pytest

from spikedriven.bench.contest import Result


def test_slope_of_powers():
    assert growth.slope([1, 2, 4], [5.0, 10.0, 40.0]) == pytest.approx(2)
    assert growth.slope([8, 16], [3.0, 3.0]) == pytest.approx(0)


def test_measured_and_redrawn(tmp_path, monkeypatch):
    asked = []

    def measure_point(arguments, point):
        asked.append(point)
        ms = 10.0 * point["time_steps"] * point["batch"]
        return {
            "ours-bf16": {
                "ms": ms,
                "q1": ms * 0.9,
                "q3": ms * 1.1,
                "tensors_mb": 3.0 * point["img_size"] ** 2,
            }
        }

    monkeypatch.setattr(growth, "measure_point", measure_point)
    growth.main(["--out", str(tmp_path / "figure.svg")])
    found = json.loads((tmp_path / "figure.json").read_text())
    assert len(asked) == 4 + 5 + 4 - 2  # the point in the middle belongs to all three columns
    assert [row["at"] for row in found["columns"]["batch"]] == [2, 4, 8, 16, 32]
    shown = (tmp_path / "figure.svg").read_text()
    for text in ("ours-bf16 ~1.0", "ours-bf16 ~2.0", "time steps T", "T 4, batch 8"):
        assert text in shown, text


@pytest.mark.slow
def test_a_point_is_measured(tmp_path):
    arguments = growth.Arguments(model="sdt_2_256_cifar", only=("ours-bf16",), rounds=1, threads=1)
    (row,) = growth.measure_point(arguments, {"time_steps": 1, "batch": 2, "img_size": 16}).values()
    assert row["ms"] > 0 and row["q1"] <= row["q3"] and row["tensors_mb"] > 0


def test_failure_names_the_point(monkeypatch):
    monkeypatch.setattr(
        growth, "measure", lambda *_: [Result("released", "", "failed", "out of memory")]
    )
    with pytest.raises(SystemExit, match=r"released at .*'img_size': 16.*failed: out of memory"):
        growth.measure_point(growth.Arguments(), {"time_steps": 1, "batch": 2, "img_size": 16})
