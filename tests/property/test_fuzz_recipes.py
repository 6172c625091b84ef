"""Recipes with random mistakes in them: each one is read, or refused with one clear message;
nothing else happens.

Mistakes are made in the text (bytes) and in what it says (values of another type, out of range,
renamed, missing or moved fields). A recipe that is read must come back from its own text, and must
build its network, its optimiser and its learning rates, or be refused there.
"""

import copy
import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from spikedriven.errors import RecipeError, SpikedrivenError
from spikedriven.recipes import FOLDER, list_recipes, load_recipe
from spikedriven.recipes.reading import read_recipe, recipe_to_yaml
from spikedriven.recipes.types import Recipe
from spikedriven.tasks import create_task
from spikedriven.training.optim import create_optimizer, peak_learning_rate
from spikedriven.training.schedule import learning_rate
from tests.property.mutate import no_longer_than, with_wrong_bytes
from tests.tasks.toys import classifier, masked_autoencoder, recipe

TESTS = Path(__file__).parents[1]
COUNT = pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
LETTERS = b"\x00\xff\t\n :-[]{}&*!|>%@'\"#,?0aZ"
#: What is put where something else was.
ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    7,
    10**30,
    -(10**400),
    0.0,
    -0.5,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x00",
    "../../etc/passwd",
    "1e-3",
    "timm/test_resnet",
    "fashion-mini",
    "é" * 300,
    [],
    [0],
    [1, 2, 3],
    [[[]]],
    {},
    {"a": 1},
    {"": None},
    b"\xff",
    "2026-99-99",
    "rand-m9-n2",
    "lamb",
    "coco2017",
]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a tree."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [place for key, value in items for place in ((tree, key), *places(value))]


def with_mistake(tree: dict[str, Any], draws: random.Random) -> dict[str, Any]:
    changed = copy.deepcopy(tree)
    for _ in range(draws.choice((1, 1, 1, 1, 2, 4))):
        found = places(changed)
        if not found:
            break
        container, key = draws.choice(found)
        kind = draws.randrange(12)
        number = isinstance(container[key], (int, float)) and not isinstance(container[key], bool)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[draws.choice(("", "x", "name", f"{key}s", str(key)[1:]))] = container.pop(key)
        elif kind == 2:
            other, name = draws.choice(found)
            container[key] = copy.deepcopy(other[name])
        elif kind < 6 or not number:
            container[key] = draws.choice(ODD)
        else:
            container[key] *= draws.choice((-1, 0, 0.5, 2, 3, 10))
    return changed


def read(path: Path, content: bytes) -> Recipe | None:
    path.write_bytes(content)
    try:
        found = read_recipe(path)
    except RecipeError as error:
        assert str(path.parent) in str(error) and len(str(error)) < 4000
        return None
    path.write_text(recipe_to_yaml(found), encoding="utf-8")
    assert read_recipe(path) == found
    return found


@COUNT
def test_shipped_recipes_with_wrong_values(count: int, tmp_path: Path) -> None:
    draws, trees = (
        random.Random(count),
        [yaml.safe_load(recipe_to_yaml(load_recipe(name))) for name in list_recipes()],
    )
    found = []
    for _ in range(count):
        text = yaml.safe_dump(with_mistake(draws.choice(trees), draws), allow_unicode=True)
        with no_longer_than(5):
            found.append(read(tmp_path / "r.yaml", text.encode("utf-8", "surrogatepass")))
    assert 0.05 < sum(one is not None for one in found) / count < 0.7, (
        "mistakes are too wild or too tame"
    )


@COUNT
def test_shipped_recipes_with_wrong_bytes(count: int, tmp_path: Path) -> None:
    draws, files = (
        random.Random(count),
        [path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))],
    )
    for path in FOLDER.glob("*.yaml"):  # `base:` starts from these
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for _ in range(count):
        with no_longer_than(5):
            read(tmp_path / "r.yaml", with_wrong_bytes(draws.choice(files), draws, LETTERS))


def small_recipes() -> list[dict[str, Any]]:
    files = ("tasks/toy_detection.yaml", "tasks/toy_segmentation.yaml", "end_to_end/tiny.yaml")
    found = [read_recipe(TESTS / name) for name in files]
    found += [recipe(classifier()), recipe(masked_autoencoder(), "pretraining")]
    return [yaml.safe_load(recipe_to_yaml(one)) for one in found]


def _without_download(found: Recipe) -> Recipe:
    data = (
        dataclasses.replace(found.data, download=False)
        if hasattr(found.data, "download")
        else found.data
    )
    return dataclasses.replace(found, data=data)


def use(found: Recipe) -> None:
    """What a run makes of a recipe before the first batch; the network without memory for its
    weights.
    """
    task = create_task(_without_download(found))
    task.train_loader(0, 1)
    with torch.device("meta"):
        model = task.build_model()
    create_optimizer(model, found.optim, found.run.batch_size)
    peak = peak_learning_rate(found.optim, found.run.batch_size)
    for position in (0.0, 0.5, found.schedule.epochs / 2, found.schedule.total_epochs - 1e-3):
        assert 0 <= learning_rate(found.schedule, peak, position) < float("inf")


@COUNT
def test_small_recipes_are_built_or_refused(count: int, tmp_path: Path) -> None:
    draws, trees, built, problems = random.Random(count), small_recipes(), 0, []
    for tree in trees:
        use(
            read(tmp_path / "r.yaml", yaml.safe_dump(tree).encode())
            or pytest.fail("a good recipe was refused")
        )
    for _ in range(count):
        text = yaml.safe_dump(with_mistake(draws.choice(trees), draws), allow_unicode=True)
        found = read(tmp_path / "r.yaml", text.encode("utf-8", "surrogatepass"))
        if found is None:
            continue
        try:
            with no_longer_than(20):
                use(found)
            built += 1
        except SpikedrivenError:
            continue
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}\n{text}")
    assert problems == []
    assert built > 0.1 * count


def test_aliases_that_stand_for_billions_of_values(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    text = "model: {name: m}\noptim: {lr: 1}\ndata: {}\ndescription: *a11\n"
    with no_longer_than(5), pytest.raises(RecipeError, match=r"line 2: write the value out"):
        read_recipe(_written(tmp_path, "\n".join(lines) + "\n" + text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "1" * 5000, "not YAML"),
        ("a: 2026-99-99", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: !!timestamp x", "not YAML"),
        ("a: " + "b" * 400_000, "is it a recipe"),
        ("1: 2", "expected a name before the colon"),
        ("[1]: 2", "expected a name before the colon"),
        ("base: ../other/r\nmodel: {name: m}", "of the same folder"),
        ("base: /etc/passwd", "of the same folder"),
        ("base: [1]", "of the same folder"),
        (
            "task: [detection]\nmodel: {name: m}\ndata: {}\noptim: {lr: 1.0}",
            r"'task': expected str",
        ),
        (
            "model: {name: m}\ndata: {in_chans: true}\noptim: {lr: 1.0}",
            r"'data\.in_chans': expected one of 1, 3",
        ),
        ("model: {name: m}\ndata: {}\noptim: {lr: .nan}", r"'optim\.lr'"),
        ("model: {name: m}\ndata: {}\noptim: {lr: 1.0, weight_decay: .inf}", "a finite number"),
        (
            "model: {name: m}\ndata: {}\noptim: {lr: 1.0, weight_decay: 1" + "0" * 400 + "}",
            "a finite number",
        ),
    ],
)
def test_what_the_reader_itself_stumbles_over(text: str, message: str, tmp_path: Path) -> None:
    with no_longer_than(5), pytest.raises(RecipeError, match=message) as caught:
        read_recipe(_written(tmp_path, text))
    assert str(tmp_path) in str(caught.value) and len(str(caught.value)) < 1000


def _written(folder: Path, text: str) -> Path:
    (folder / "r.yaml").write_text(text, encoding="utf-8")
    return folder / "r.yaml"
