"""What `spikedriven train RECIPE` does: the recipe with the options over it, and the run."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from spikedriven.cli.arguments import read, split_arguments
from spikedriven.data import find_set, with_dataset
from spikedriven.data.sections import described
from spikedriven.errors import InputError, RecipeError
from spikedriven.plugins import named_plugins
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.recipes.reading import recipe_to_yaml
from spikedriven.recipes.types import Recipe
from spikedriven.recipes.unread import UnreadError, without
from spikedriven.runs.checkpoint import CheckpointStore
from spikedriven.runs.distributed import open_world
from spikedriven.runs.selection import selection_of
from spikedriven.training.loop import Trainer, exit_status

#: Sections with keywords that depend on what is named there: --model.args.NAME VALUE.
_WITH_ARGUMENTS = ("model", "optim", "schedule")
Data = TypeVar("Data")


@dataclasses.dataclass(frozen=True)
class Arguments(Generic[Data]):
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Shipped recipe, YAML file or run folder."""
    recipe: Annotated[Recipe[Data], tyro.conf.arg(name="")]
    resume: bool = False
    """Continue the newest checkpoint of the run folder."""
    show: bool = False
    """Print the effective recipe as YAML and stop."""


def run(argv: list[str], doc: str) -> int:
    """Parse `argv` and train; returns 0, or 130 / 143 after Ctrl-C / SIGTERM. doc: the help
    text.
    """
    name = recipe_word(argv)
    if name is None:
        print(doc)
        return 2
    rest, given = split_arguments(argv, _WITH_ARGUMENTS)
    recipe = _with_plugins(load_recipe(name))
    recipe = _on_named_set(rest, recipe)
    arguments = _parsed(rest, name, recipe, doc)
    recipe = _with_arguments(arguments.recipe, given)
    if arguments.show:
        print(recipe_to_yaml(recipe), end="")
        return 0
    return _train(recipe, _run_folder(name, recipe), arguments.resume)


def recipe_word(argv: list[str]) -> str | None:
    """The word that names the recipe, wherever it stands; None where there is none."""
    words = [word for word in argv if not word.startswith("-")]
    if argv[:1] == words[:1]:
        return words[0] if words else None
    known = (word for word in words if word in list_recipes() or _is_recipe(Path(word)))
    return next(known, words[0] if words else None)


def _is_recipe(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file()


def _parsed(words: list[str], name: str, recipe: Recipe, doc: str) -> Arguments:
    """The words over a recipe. What its values have no use for any longer is dropped, what the
    words say is refused.
    """
    said = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words}
    while True:
        try:
            kind: Any = Arguments[type(recipe.data)]  # type: ignore[misc]
            return read(kind, words, "train", doc, default=Arguments(name, recipe))
        except UnreadError as error:
            if error.path in said:
                raise
            recipe = without(recipe, error.path)


def _train(recipe: Recipe, folder: Path, resume: bool) -> int:
    with open_world(recipe.run.device, recipe.run.timeout_s) as world:
        outcome = Trainer(recipe, folder, world, resume=resume).fit()
    status = exit_status(outcome)
    if world.is_main and status:
        print(
            f"stopped at step {outcome.step}, checkpoint written. Continue: "
            f"{_command('train', folder)} --resume"
        )
    elif world.is_main:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.figures.items())
        print(f"run saved in {folder} (step {outcome.step}) {figures}")
        if CheckpointStore(folder).mark():
            print(f"{folder / 'best'}: {selection_of(folder / 'best')}")
        print(f"trained on {described(recipe.data)}; evaluate it: {_command('eval', folder)}")
    return status


def _command(name: str, folder: Path) -> str:
    return f"spikedriven {name} {shlex.quote(str(folder))}"


def _run_folder(name: str, recipe: Recipe) -> Path:
    if recipe.run.out is not None:
        return Path(recipe.run.out)
    path = Path(name)
    return path if (path / "recipe.yaml").is_file() else Path("runs") / path.stem


def _with_plugins(recipe: Recipe) -> Recipe:
    """The run says which plugins it needs: its recipe's, and those that the user has named."""
    needed = dict.fromkeys((*recipe.plugins, *named_plugins()))
    return dataclasses.replace(recipe, plugins=tuple(needed))


def _with_arguments(recipe: Recipe, given: dict[str, dict[str, Any]]) -> Recipe:
    for section, values in given.items():
        part = getattr(recipe, section)
        if values:
            part = dataclasses.replace(part, args={**part.args, **values})
        recipe = dataclasses.replace(recipe, **{section: part})
    return recipe


def _on_named_set(argv: list[str], recipe: Recipe) -> Recipe:
    """The recipe on the set that --data.dataset names, where other options come with it.

    RecipeError for a set of another kind, and for one that nobody knows.
    """
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option != "--data.dataset":
            continue
        name = value if equals else following
        try:
            if find_set(name, recipe.data.task).config is type(recipe.data):
                continue  # the parser changes it together with the other options
            data = with_dataset(recipe.data, name)
        except InputError as error:
            raise RecipeError(
                f"--data.dataset: {error}; start from a recipe for it (spikedriven train --list)"
            ) from error
        recipe = dataclasses.replace(recipe, data=data)
    return recipe
