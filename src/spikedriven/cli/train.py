"""Train a recipe, or continue a run.

Example:

    spikedriven train quickstart
    spikedriven train quickstart --schedule.epochs 3 --model.args.embed_dim 96 --run.out runs/small
    spikedriven train quickstart --resume                       (continues runs/quickstart, starts it if there is none)
    torchrun --nproc-per-node 8 -m spikedriven train sdt_imagenet_8_512 --data.root /data

RECIPE is the name of a shipped recipe (--list shows them), a YAML file, or the folder of a run (its
recipe is used again). Every field of the recipe is an option: --optim.lr 1e-3. Further keywords of
the model: --model.args.NAME VALUE; of timm's optimiser and schedule: --optim.args.NAME VALUE,
--schedule.args.NAME VALUE.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro
from rich.console import Console
from rich.table import Table

from spikedriven.cli.arguments import split_arguments
from spikedriven.data import data_config_type
from spikedriven.data.sections import described
from spikedriven.errors import InputError, RecipeError
from spikedriven.recipes import list_recipes, load_recipe
from spikedriven.training.checkpoint import CheckpointStore
from spikedriven.training.config import Recipe
from spikedriven.training.distributed import open_world
from spikedriven.training.loop import Trainer, exit_status
from spikedriven.training.recipe_io import recipe_to_yaml
from spikedriven.training.selection import selection_of

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


def run(argv: list[str]) -> int:
    """Parse `argv` and train; returns 0, or 130 / 143 after Ctrl-C / SIGTERM."""
    if "--list" in argv:
        return _list("--json" in argv)
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is None:
        print(__doc__)
        return 0 if {"-h", "--help"} & set(argv) else 2
    rest, given = split_arguments(argv, _WITH_ARGUMENTS)
    recipe = load_recipe(name)
    section = type(recipe.data)
    _check_data_set(rest, recipe)
    arguments: Arguments = tyro.cli(
        Arguments[section],  # type: ignore[valid-type]
        args=rest,
        default=Arguments(name, recipe),
        prog="spikedriven train",
        description=__doc__,
    )
    recipe = _with_arguments(arguments.recipe, given)
    if arguments.show:
        print(recipe_to_yaml(recipe), end="")
        return 0
    return _train(recipe, _run_folder(name, recipe), arguments.resume)


def _train(recipe: Recipe, folder: Path, resume: bool) -> int:
    with open_world(recipe.run.device, recipe.run.timeout_s) as world:
        outcome = Trainer(recipe, folder, world, resume=resume).fit()
    status = exit_status(outcome)
    if world.is_main and status:
        print(
            f"stopped at step {outcome.step}, checkpoint written. Continue: spikedriven train {folder} --resume"
        )
    elif world.is_main:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.figures.items())
        print(f"run saved in {folder} (step {outcome.step}) {figures}")
        if CheckpointStore(folder).mark():
            print(f"{folder / 'best'}: {selection_of(folder / 'best')}")
        print(f"trained on {described(recipe.data)}; evaluate it: spikedriven eval {folder}")
    return status


def _run_folder(name: str, recipe: Recipe) -> Path:
    if recipe.run.out is not None:
        return Path(recipe.run.out)
    path = Path(name)
    return path if (path / "recipe.yaml").is_file() else Path("runs") / path.stem


def _with_arguments(recipe: Recipe, given: dict[str, dict[str, Any]]) -> Recipe:
    for section, values in given.items():
        part = getattr(recipe, section)
        if values:
            part = dataclasses.replace(part, args={**part.args, **values})
        recipe = dataclasses.replace(recipe, **{section: part})
    return recipe


def _check_data_set(argv: list[str], recipe: Recipe) -> None:
    """RecipeError where --data.dataset names a set of another kind: its options are others too."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option != "--data.dataset":
            continue
        found = value if equals else following
        try:
            section = data_config_type(recipe.task, found)
        except InputError as error:
            raise RecipeError(f"--data.dataset: {error}") from error
        if section is not type(recipe.data):
            raise RecipeError(
                f"--data.dataset {found}: the recipe is for sets such as {recipe.data.dataset}, whose options are "
                f"others; start from a recipe for {found} (spikedriven train --list)"
            )


def _list(as_json: bool) -> int:
    recipes = {name: load_recipe(name) for name in list_recipes()}
    if as_json:
        print(json.dumps({name: recipe.description for name, recipe in recipes.items()}, indent=1))
        return 0
    table = Table("recipe", "data", "epochs", "description")
    for name, recipe in recipes.items():
        table.add_row(
            name, recipe.data.dataset, str(recipe.schedule.total_epochs), recipe.description
        )
    Console().print(table)
    return 0
