"""The checks for a machine with a GPU, where there is none."""

import json
import sys

import gpu_check
import pytest
import torch


def test_parity_is_found_and_a_difference_too(monkeypatch):
    monkeypatch.setattr(gpu_check, "FAMILIES", ("sdt_2_256_cifar",))
    (row,) = gpu_check.parity("cpu", 60)["families"].values()
    assert row["status"] == "passed" and row["different"] == 0 and row["rate"] > 0.01
    outputs, calls = gpu_check._outputs, []

    def other_spikes(model, images):
        calls.append(images)
        output, fired = outputs(model, images)
        return output, [fired[0] + (len(calls) == 2), *fired[1:]]

    monkeypatch.setattr(gpu_check, "_outputs", other_spikes)
    report = gpu_check.parity("cpu", 60)
    assert report["status"] == "failed"
    assert report["families"]["sdt_2_256_cifar"]["different"] > 0


def test_a_check_that_breaks_leaves_the_others(monkeypatch, tmp_path, capsys):
    def broken(device, seconds):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setitem(gpu_check.CHECKS, "parity", broken)
    monkeypatch.setitem(gpu_check.CHECKS, "batch", lambda *_: {"status": "passed"})
    out = tmp_path / "found.json"
    words = ["gpu_check", "--cpu", "--out", str(out), "--only", "parity", "batch"]
    monkeypatch.setattr(sys, "argv", words)
    assert gpu_check.main() == 1
    report = json.loads(out.read_text())
    assert report["checks"]["parity"]["told"] == "OutOfMemoryError: no memory"
    assert report["checks"]["batch"]["status"] == "passed" and report["machine"]["flags"] != []


def test_what_does_not_end_in_its_time_is_told():
    found = gpu_check._run(["-c", "import time; time.sleep(60)"], 0.2, lambda text: {})
    assert found["status"] == "no time left"
    found = gpu_check._run(["-c", "raise SystemExit('why')"], 60, lambda text: {})
    assert found["status"] == "failed" and found["told"] == "why"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit):
        gpu_check.main()
    assert "--cpu runs what can run without one" in capsys.readouterr().err
