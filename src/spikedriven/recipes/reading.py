"""YAML text to a Recipe and back, strictly: an unknown key, a wrong type or a repeated key is an
error that names the place.
"""

import dataclasses
import math
import re
import reprlib
import types
import typing
from pathlib import Path
from typing import Any

from spikedriven.data import data_config_type, find_set
from spikedriven.data.contract import DataSection, why_unknown
from spikedriven.data.sections import of_other_set
from spikedriven.errors import InputError, RecipeError, did_you_mean
from spikedriven.plugins import how_to_load, missing_plugins
from spikedriven.recipes.types import Recipe
from spikedriven.recipes.unread import UnreadError
from spikedriven.recipes.yaml_text import read_yaml, to_yaml

#: Of a recipe file, bytes; the longest that ships has five thousand.
LARGEST_FILE = 1 << 18
_LARGEST = (1 << 63) - 1
#: How a value is shown in a message: not longer than a line or two.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


def read_recipe(source: Path) -> Recipe:
    """The recipe of a YAML file. `base: NAME` in it starts from another recipe of the same folder;
    of that, what the file's own values leave unread is dropped.
    """
    tree, own = _read_tree(source)
    while True:
        try:
            return recipe_from_dict(tree, where=str(source))
        except UnreadError as error:
            section, _, name = error.path.partition(".")
            if name in (own.get(section) or {}):
                raise
            del tree[section][name]


def recipe_from_dict(tree: dict[str, Any], where: str = "recipe") -> Recipe:
    """A Recipe from nested dictionaries; every complaint starts with `where` and the dotted
    path of the field.
    """
    try:
        _check_plugins(tree)
        section = data_section(tree)
        return _build(Recipe, _without_unread(tree, section), "", {"data": section})
    except UnreadError as error:
        raise UnreadError(error.path, f"{where}: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def _check_plugins(tree: dict[str, Any]) -> None:
    """Before anything that a plugin may have registered is looked for."""
    named = tree.get("plugins", [])
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        raise RecipeError(f"'plugins': expected a list of names of modules, found {_shown(named)}")
    if missing := missing_plugins(named):
        plural = "s" * (len(missing) > 1)
        raise RecipeError(f"needs the plugin{plural} {', '.join(missing)}: {how_to_load(missing)}")


def data_section(tree: dict[str, Any]) -> type[Any]:
    """The dataclass of the data section in a recipe's tree."""
    data, task = tree.get("data"), tree.get("task")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    try:  # a task or a name that is no text is for `_convert` to complain about
        return data_config_type(
            task if isinstance(task, str) else Recipe.task,
            dataset if isinstance(dataset, str) else None,
        )
    except InputError as error:
        raise RecipeError(f"data.dataset: {error}") from error


def _without_unread(tree: dict[str, Any], section: type[DataSection]) -> dict[str, Any]:
    """Recipes of runs that were written when all event sets shared their options hold those of the
    others too, at their defaults. RecipeError for one that says something."""
    data = tree.get("data")
    if not isinstance(data, dict):
        return tree
    known = {field.name for field in dataclasses.fields(section)}
    kept = {}
    for key, value in data.items():
        other = None if key in known or not isinstance(key, str) else of_other_set(section, key)
        if other is None:
            kept[key] = value
        elif value != _plain(other.default):
            unnamed = {field.name: field.default for field in dataclasses.fields(section)}[
                "dataset"
            ]
            name = data.get("dataset", unnamed)
            if not isinstance(name, str):
                return tree  # for `_convert` to complain about
            raise RecipeError(f"'data.{key}': {why_unknown(find_set(name, section.task), key)}")
    return {**tree, "data": kept}


def recipe_to_yaml(recipe: Recipe) -> str:
    """YAML with every field of the recipe, which `read_recipe` reads back to an equal recipe."""
    return to_yaml(_plain(dataclasses.asdict(recipe)))


def differing_fields(a: Recipe, b: Recipe) -> list[str]:
    """Dotted paths of the fields in which two recipes differ."""
    left, right = _flatten(dataclasses.asdict(a)), _flatten(dataclasses.asdict(b))
    return sorted(path for path in left.keys() | right.keys() if left.get(path) != right.get(path))


def _read_tree(
    source: Path, children: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file and those that it is based on say, and what it says itself."""
    tree = _parse(source, _read_text(source))
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{source}: expected a mapping with model, data, optim ..., found {type(tree).__name__}"
        )
    base = tree.pop("base", None)
    if base is None:
        return tree, tree
    if not isinstance(base, str) or not re.fullmatch(r"[\w.-]{1,100}", base):
        raise RecipeError(
            f"{source}: base: expected the name of a recipe of the same folder, found "
            f"{_shown(base)}"
        )
    path = source.parent / f"{base}.yaml"
    if path in (*children, source):
        raise RecipeError(f"{source}: base {base!r} leads back to itself")
    return _merge(_read_tree(path, (*children, source))[0], tree), tree


def _read_text(source: Path) -> str:
    try:
        with source.open(encoding="utf-8") as file:
            text = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise RecipeError(f"{source}: no such recipe file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{source}: cannot be read as text: {error}") from error
    if len(text) > LARGEST_FILE:
        raise RecipeError(f"{source}: more than {LARGEST_FILE} characters; is it a recipe?")
    return text


def _parse(source: Path, text: str) -> Any:
    try:
        return read_yaml(text)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None
    except ValueError as error:
        raise RecipeError(f"{source}: not YAML: {error}") from error


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _build(cls: type, tree: Any, path: str, types: dict[str, type] | None = None) -> Any:
    """types: of fields whose annotation leaves them open."""
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{path.rstrip('.') or 'top level'}: expected a mapping, found {_shown(tree)}"
        )
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            raise RecipeError(f"unknown key '{path}{key}'; {did_you_mean(key, fields)}")
    for name, field in fields.items():
        if name not in tree and field.default is field.default_factory is dataclasses.MISSING:
            raise RecipeError(f"'{path}{name}' is missing and has no default")
    hints = {**typing.get_type_hints(cls), **(types or {})}
    values = {name: _convert(hints[name], value, f"{path}{name}") for name, value in tree.items()}
    try:
        return cls(**values)
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(f"{path.rstrip('.') or 'top level'}: {error}") from error


def _convert(expected: Any, value: Any, path: str) -> Any:
    """`value` as the annotated type; int is accepted for float, a list for a tuple, and nothing
    else is bent.
    """
    origin, options = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return _plain_values(value, path)
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return _build(expected, value, path + ".")
    if origin in (typing.Union, types.UnionType):
        return _convert_union(options, value, path)
    if origin is typing.Literal and any(
        value == option and type(value) is type(option) for option in options
    ):
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(options, value, path)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(options[1], item, f"{path}.{key}") for key, item in value.items()}
    if expected is Path and isinstance(value, str):
        return Path(value)
    if expected is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, path)
    if (
        isinstance(expected, type)
        and isinstance(value, expected)
        and (expected is bool or not isinstance(value, bool))
    ):
        return _plain_values(value, path)
    raise RecipeError(f"'{path}': expected {_describe(expected)}, found {_shown(value)}")


def _plain_values(value: Any, path: str) -> Any:
    """The value, if it is made of numbers, text, lists and names only: YAML also has dates,
    bytes and sets.
    """
    if isinstance(value, dict):
        return {key: _plain_values(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_values(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float):
        return _finite(value, path)
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise RecipeError(f"'{path}': expected a number of 64 bits, found {_shown(value)}")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise RecipeError(
        f"'{path}': expected numbers, text, lists or a mapping, found {_shown(value)}"
    )


def _finite(value: float, path: str) -> float:
    """No field of a recipe has a use for infinity, or for what is not a number."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RecipeError(f"'{path}': expected a finite number, found {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    """A value in a message; reprlib also keeps deep and long ones short."""
    return _SHORT.repr(value)


def _convert_union(options: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        try:
            return _convert(option, value, path)
        except RecipeError:
            continue  # another option of the union may fit; none fitting is reported below
    raise RecipeError(f"'{path}': expected {_describe(options)}, found {_shown(value)}")


def _convert_tuple(options: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if options[-1] is Ellipsis:
        options = (options[0],) * len(value)
    if len(options) != len(value):
        raise RecipeError(
            f"'{path}': expected {len(options)} values, found {len(value)}: {_shown(value)}"
        )
    return tuple(
        _convert(kind, item, f"{path}[{i}]")
        for i, (kind, item) in enumerate(zip(options, value, strict=True))
    )


def _describe(expected: Any) -> str:
    if isinstance(expected, tuple):
        return " or ".join(_describe(option) for option in expected)
    if typing.get_origin(expected) is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(expected))
    if expected is type(None):
        return "null"
    return (
        expected.__name__
        if isinstance(expected, type) and not typing.get_args(expected)
        else str(expected)
    )


def _plain(value: Any) -> Any:
    """Tuples as lists and paths as text, so that YAML shows no Python tags."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(
            _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat
