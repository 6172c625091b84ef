"""Recipes: strict reading with useful complaints, and text that reads back to the same recipe."""

import time
from pathlib import Path

import pytest

from spikedriven.cli.arguments import split_arguments
from spikedriven.errors import RecipeError
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.recipes.reading import (
    differing_fields,
    read_recipe,
    recipe_from_dict,
    recipe_to_yaml,
)
from spikedriven.recipes.yaml_text import read_yaml, to_yaml

SMALL = {"model": {"name": "m"}, "data": {"dataset": "fashion-mini"}, "optim": {"lr": 0.1}}


def write(folder: Path, text: str, name: str = "r.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_read_back_from_their_own_text(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.description
    assert read_recipe(write(tmp_path, recipe_to_yaml(recipe))) == recipe


def test_exponents_without_a_dot_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {name: m}\ndata: {}\noptim: {lr: 1e-3, eps: 5E-8}\n")
    optim = read_recipe(path).optim
    assert (optim.lr, optim.eps) == (1e-3, 5e-8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("0", 0),
        ("1_000", 1000),
        ("1e-3", 1e-3),
        ("+1E5", 1e5),
        ("2.", 2.0),
        (".5", 0.5),
        ("1.5e3", 1500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("[1, 2e1]", [1, 20.0]),
        # what YAML 1.1 takes for other numbers, or for truth
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("0b11", "0b11"),
        ("08", "08"),
        ("no", "no"),
        ("On", "On"),
        ("yes", "yes"),
        ("1_0.5", "1_0.5"),
        (".", "."),
        ("1e", "1e"),
    ],
)
def test_what_looks_like_a_number_is_that_number(text: str, value: object, tmp_path: Path) -> None:
    found = read_yaml(text)
    assert found == value and type(found) is type(value)
    assert split_arguments(["--model.args.a", text], ("model",))[1] == {"model": {"a": value}}
    again = read_yaml(to_yaml({"a": text}))
    assert again == {"a": text}, "as text it is written with quotes where it needs them"


@pytest.mark.parametrize("field", ["lr: 1:30", "lr: 010", "lr: 0x10"])
def test_numbers_of_another_notation_are_refused(field: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'optim\.lr': expected float or null, found '"):
        read_recipe(
            write(
                tmp_path,
                f"model: {{name: m}}\ndata: {{dataset: fashion-mini}}\noptim: {{{field}}}\n",
            )
        )


@pytest.mark.parametrize(
    "text", ["1" * 200_000, "1" * 200_000 + "x", "1." * 100_000, "1e" * 100_000, "1_" * 100_000]
)
def test_long_runs_of_digits_take_no_time(text: str, tmp_path: Path) -> None:
    began = time.process_time()
    with pytest.raises(RecipeError):
        read_recipe(
            write(
                tmp_path,
                f"model: {{name: m}}\ndata: {{dataset: fashion-mini}}\noptim: {{lr: {text}}}\n",
            )
        )
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "schedule", [{"epochs": 9223372036854775807}, {"epochs": 3, "cooldown_epochs": 10**9}]
)
def test_epochs_without_end_are_refused(schedule: dict) -> None:
    with pytest.raises(
        RecipeError, match=r"schedule\.epochs: found .*, expected with the cooldown at most 1000000"
    ):
        recipe_from_dict({**SMALL, "schedule": schedule})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"optim": {"lr": 0.1, "weigth_decay": 1.0}},
            r"unknown key 'optim\.weigth_decay'; did you mean weight_decay",
        ),
        ({"modle": {}}, r"unknown key 'modle'; did you mean model"),
        ({"optim": {"lr": "fast"}}, r"'optim\.lr': expected float or null, found 'fast'"),
        ({"optim": {"lr": True}}, r"'optim\.lr': expected float or null, found True"),
        (
            {"optim": {"lr": 0.1, "name": "sgb"}},
            r"optim\.name: timm has no optimiser 'sgb'; did you mean .*sgd",
        ),
        ({"optim": {"lr": 0.1, "betas": [0.9]}}, r"optim\.betas: adamw has 2, found 1"),
        ({"data": {"fit": "crop"}}, r"'data\.fit': expected one of 'resize', 'pad', found 'crop'"),
        ({"optim": {"lr": 0.1, "blr": 0.1}}, "exactly one of lr and blr"),
        ({"run": {"batch_size": 1.5}}, r"'run\.batch_size': expected int, found 1\.5"),
        ({"run": {"batch_size": 0}}, r"run\.batch_size: found 0, expected a whole number"),
        ({"run": {"sync_bn": 1}}, r"'run\.sync_bn': expected bool, found 1"),
        ({"run": []}, r"run: expected a mapping, found \[\]"),
        ({"model": {}}, r"'model\.name' is missing"),
        ({"schedule": {"epochs": 5, "warmup_epochs": 5}}, "warmup_epochs"),
    ],
)
def test_mistakes_are_named_with_their_place(change: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_from_dict({**SMALL, **change})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {name: a}\nmodel: {name: b}\n", "line 2: 'model' is given twice"),
        ("model: [", "not YAML"),
        ("- 1\n", "expected a mapping"),
        ("!!python/object/apply:os.system ['true']\n", "not YAML"),
    ],
)
def test_broken_files_are_one_error_naming_the_file(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(write(tmp_path, text))
    assert "r.yaml" in str(caught.value)


def test_base_is_merged_field_by_field(tmp_path: Path) -> None:
    write(
        tmp_path,
        "model: {name: m, time_steps: 4}\ndata: {}\noptim: {lr: 1.0, weight_decay: 0.5}\n",
        "parent.yaml",
    )
    child = read_recipe(write(tmp_path, "base: parent\nmodel: {time_steps: 2}\noptim: {lr: 2.0}\n"))
    assert (child.model.name, child.model.time_steps) == ("m", 2)
    assert (child.optim.lr, child.optim.weight_decay) == (2.0, 0.5)


def test_a_base_that_leads_back_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "base: b\n", "a.yaml")
    with pytest.raises(RecipeError, match="leads back"):
        read_recipe(write(tmp_path, "base: a\n", "b.yaml"))


def test_unknown_recipe_suggests_names() -> None:
    with pytest.raises(RecipeError, match="did you mean quickstart"):
        load_recipe("quickstrat")


def test_differing_fields_are_dotted_paths() -> None:
    a = recipe_from_dict(SMALL)
    b = recipe_from_dict(
        {**SMALL, "optim": {"lr": 0.2}, "model": {"name": "m", "args": {"depth": 3}}}
    )
    assert differing_fields(a, b) == ["model.args.depth", "optim.lr"]
