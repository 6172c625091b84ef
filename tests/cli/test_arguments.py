"""Options of commands: booleans in both spellings, and names that need quotes."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from spikedriven.cli import main
from spikedriven.cli.arguments import as_flags, booleans, read
from spikedriven.cli.training import Arguments
from spikedriven.errors import InputError
from spikedriven.recipes import load_recipe
from spikedriven.recipes.yaml_text import read_yaml


def fields(value: object, prefix: str = "") -> dict[str, object]:
    found = {}
    for field in dataclasses.fields(value):
        part, name = getattr(value, field.name), f"{prefix}{field.name}"
        found |= fields(part, f"{name}.") if dataclasses.is_dataclass(part) else {name: part}
    return found


@pytest.mark.parametrize(
    "name", ["quickstart", "e_spikeformer_hardvs_19m", "fashion_scenes_mask_rcnn"]
)
def test_every_boolean_of_a_recipe_is_found(name: str):
    recipe = load_recipe(name)
    expected = {
        path.replace("_", "-") for path, value in fields(recipe).items() if isinstance(value, bool)
    }
    assert booleans(Arguments(name, recipe)) == expected | {"resume", "show"}
    assert len(expected) > 10


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("spelling", ["--{name} {value}", "--{name}={value}", "flag"])
def test_a_boolean_can_be_said_in_every_spelling(
    value: bool, spelling: str, capsys: pytest.CaptureFixture[str]
):
    for option in ("run.compact", "run.sync_bn", "data.skip-broken", "model.init-strict"):
        section, name = option.split(".")
        flag = f"--{section}.{name}" if value else f"--{section}.no-{name}".replace("_", "-")
        words = (
            [flag]
            if spelling == "flag"
            else spelling.format(name=option, value=str(value).lower()).split()
        )
        assert main(["train", "quickstart", "--show", *words]) == 0
        assert read_yaml(capsys.readouterr().out)[section][name.replace("-", "_")] is value


def test_other_values_are_refused_and_other_options_left_alone():
    with pytest.raises(InputError, match=r"--run\.compile often: expected true or false"):
        as_flags(["--run.compile=often"], {"run.compile"})
    words = ["--name", "true", "x", "--run.compile", "--optim.lr", "1", "false"]
    assert as_flags(words, {"run.compile"}) == words


def test_a_run_whose_name_has_blanks_is_suggested_in_quotes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "my run; x"
    words = [
        "train",
        "quickstart",
        "--run.out",
        str(run),
        "--run.max-steps",
        "1",
        "--data.val-fraction",
        "0.98",
    ]
    assert main([*words, "--schedule.epochs", "2", "--schedule.warmup-epochs", "0.5"]) == 0
    suggested = capsys.readouterr().out.splitlines()[-1].partition("evaluate it: ")[2]
    assert shlex.split(suggested) == ["spikedriven", "eval", str(run)]
    assert main([*words, "--optim.lr", "7"]) == 2


@dataclasses.dataclass(frozen=True)
class Open:
    test_flip: bool | None = None


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--test-flip", "true"], True),
        (["--test_flip=false"], False),
        (["--test-flip", "True"], True),
        ([], None),
    ],
)
def test_a_boolean_that_may_be_left_open_takes_true_and_false(words, value):
    assert read(Open, words, "eval", None).test_flip is value
