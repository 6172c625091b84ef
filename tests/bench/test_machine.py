"""What a figure is measured on."""

import os

import pytest

from spikedriven.bench.machine import hold_to
from spikedriven.errors import InputError
from spikedriven.kernels.extension import instruction_sets


def test_contestants_are_held_to_an_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"A": "1"})
    monkeypatch.setattr(
        "spikedriven.bench.machine.instruction_sets", lambda: ["avx512", "avx2", "portable"]
    )
    hold_to("avx2")
    held = {"SPIKEDRIVEN_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert os.environ == {"A": "1"} | held


def test_an_instruction_set_that_is_not_there() -> None:
    missing = {"avx512", "avx512bw", "avxvnni", "avx2", "dotprod"} - set(instruction_sets())
    with pytest.raises(
        InputError, match=r"this machine cannot run dotprod|this machine cannot run avx"
    ):
        hold_to(sorted(missing)[-1])
