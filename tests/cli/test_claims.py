"""The table of claims: complete, honest about what is missing, equal to its page, and its
commands parse.
"""

import importlib
import json
import shlex
from pathlib import Path

import pytest

from spikedriven.claims import STATUSES, all_claims, markdown
from spikedriven.claims.claim import FAILS, PUBLICATIONS, REPRODUCED, WEIGHTS
from spikedriven.claims.counted import attention_operations, attention_saving
from spikedriven.cli import COMMANDS, main
from spikedriven.cli.arguments import split_arguments
from spikedriven.models import tags

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
CLAIMS = all_claims()


def test_every_published_accuracy_has_its_row():
    rows = {claim.figure for claim in CLAIMS}
    stated = [
        file
        for file in tags.list_files()
        if file.task == "classification" and "top-1" in file.published
    ]
    own = [file for file in stated if "third party" not in file.published]
    assert len(own) >= 20
    for file in own:
        assert f"top-1 accuracy of {file.full_name} on {file.dataset}" in rows


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.figure)
def test_rows_are_complete(claim):
    assert claim.publication in PUBLICATIONS and claim.status in STATUSES
    assert claim.figure and claim.published and claim.command.startswith("spikedriven ")
    assert (claim.ours == "") == (claim.status == WEIGHTS)
    assert claim.why or claim.status != FAILS, "a figure that does not hold says why"


@pytest.mark.parametrize("command", sorted({claim.command for claim in CLAIMS}))
def test_commands_parse(command):
    """The words fit the command's own arguments; nothing runs."""
    import tyro

    _, name, *words = shlex.split(command)
    module = importlib.import_module(f"spikedriven.cli.{name}")
    assert name in COMMANDS
    if name in ("train", "models"):  # a recipe, or a wildcard: no dataclass of arguments
        assert len(words) <= 2
        return
    tyro.cli(module.Arguments, args=split_arguments(words, ("model",))[0])


def test_figures_of_the_issue():
    found = {claim.figure: claim for claim in CLAIMS}
    assert found["FLOPs of spikingformer_8_512 (README until 2024)"].published == "11.09 G"
    assert found["energy per image of spikingformer_8_768"].published == "13.68 mJ"
    assert found["energy per image of sdt_8_384.in1k on imagenet"].published == "3.90 mJ"
    assert found["energy per image of sdt_8_768.in1k on imagenet"].published == "6.09 mJ"
    assert found["energy against Spikformer"].value() == "57.34 % less"
    assert found["parameters of e_spikeformer_171m"].value() == "170.97 M"
    assert found["parameters of e_spikeformer_171m"].status == FAILS
    for words in ("87.2", "4.5 times", "3.9 times", "+7.2 points"):
        assert any(words in claim.published for claim in CLAIMS), words


def test_attention_is_counted():
    base = attention_operations(16, 49)
    assert attention_operations(16, 98) == 2 * base and attention_operations(32, 49) == 2 * base
    assert attention_saving(196, 4).startswith("at least 250 times")


def test_sizes_agree_with_the_page():
    """Rows that take no trace, here; all of them in the slow test."""
    page = PAGE.read_text(encoding="utf-8")
    for claim in CLAIMS:
        if claim.figure.startswith("parameters of") or isinstance(claim.ours, str):
            row = claim.to_dict()
            assert (
                f"| {row['figure']} | {row['published']} | {row['ours'] or '-'} | {row['status']} |"
                in page
            )
    assert page.count("\n| ") == len(CLAIMS) + len(STATUSES) + 1 + len(PUBLICATIONS)


@pytest.mark.slow
def test_the_page_is_the_table(capsys):
    assert main(["claims", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8")


def test_the_command_filters_and_prints(capsys, monkeypatch):
    monkeypatch.setattr(
        "spikedriven.cli.claims.all_claims", lambda: [c for c in CLAIMS if isinstance(c.ours, str)]
    )
    assert main(["claims", "--status", REPRODUCED, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and {row["status"] for row in rows} == {REPRODUCED}
    assert main(["claims", "--status", WEIGHTS]) == 0
    shown = capsys.readouterr().out
    assert "Meta-SpikeFormer" in shown and "does not hold" not in shown
    assert markdown(rows).count("57.34 % less") == 2
