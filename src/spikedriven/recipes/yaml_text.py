"""YAML as recipes and the command line write it: plain values, and numbers that mean what they look
like.

YAML 1.1 reads 1:30 as 90, 010 as 8, 1e-3 as text and `no` as false. Here a number is decimal, and
what only looks like one is text, which the fields of a recipe refuse.
"""

import re
from typing import Any

import yaml

from spikedriven.errors import RecipeError

#: Each is found in one pass over its text, however long that is.
_PATTERNS = {
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?([0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|[0-9]+\.[0-9]*|\.[0-9]+([eE][-+]?[0-9]+)?)|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}


class Loader(yaml.SafeLoader):
    """Refuses repeated keys, keys that are no text, and aliases (a few of which can stand for
    billions of values).
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise RecipeError(
                f"line {event.start_mark.line + 1}: write the value out; aliases (*{event.anchor}) "
                "are not read"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise RecipeError(
                    f"line {line}: expected a name before the colon, found {str(key)[:120]!r}"
                )
            if key in seen:
                raise RecipeError(f"line {line}: {key!r} is given twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """YAML's own by first letter, but for numbers and truth."""
    own = {
        first: [(tag, pattern) for tag, pattern in known if tag not in _PATTERNS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, (pattern, firsts) in _PATTERNS.items():
        for first in firsts:
            own.setdefault(first, []).append((tag, re.compile(f"^(?:{pattern})$")))
    return own


Loader.yaml_implicit_resolvers = _resolvers()


class _Dumper(yaml.SafeDumper):
    """Quotes text that either this loader or one of YAML 1.1 would take for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [
        *Loader.yaml_implicit_resolvers.get(first, []),
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
    ]
    for first in {**Loader.yaml_implicit_resolvers, **yaml.SafeDumper.yaml_implicit_resolvers}
}


def to_yaml(value: Any) -> str:
    """Text that `read_yaml` reads back to an equal value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120)


def read_yaml(text: str) -> Any:
    """The value of a text. RecipeError for repeated keys and aliases, ValueError for whatever
    is no YAML.
    """
    try:
        return yaml.load(text, Loader=Loader)  # a SafeLoader: plain data only
    except RecipeError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        # PyYAML passes on what a date such as 2026-99-99 or a number of 5,000 digits makes Python
        # raise
        raise ValueError(str(error)) from error
