"""The directive ``command-help``: one command of the command line, told from its own parser.

    .. command-help:: audit

The words behind the name are given to the command before ``--help``, as RECIPE is for `train`.
"""

import argparse
import re
import shlex
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tyro
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from spikedriven.cli import COMMANDS, main


class Asked(Exception):  # noqa: N818
    """A command has built its parser; nothing is run."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """The parser that ``spikedriven WORDS`` would read its words with."""
    with _stopped():
        try:
            status = main(words)
        except Asked as asked:
            return asked.parser
    raise RuntimeError(f"spikedriven {shlex.join(words)}: no parser was built (status {status})")


@contextmanager
def _stopped() -> Iterator[None]:
    """Instead of reading words, tyro hands out its parser."""
    real = tyro.cli

    def cli(target: Any, **options: Any) -> None:
        known = {key: options[key] for key in ("prog", "description", "default") if key in options}
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # tyro has no other way to ask for it
            raise Asked(tyro.extras.get_parser(target, **known))

    tyro.cli = cli
    try:
        yield
    finally:
        tyro.cli = real


def as_text(words: list[str]) -> str:
    """One command as reStructuredText: what it does, examples, and every option."""
    parser = parser_of(words)
    lines = [_usage(parser), "", described(parser.description or ""), ""]
    for action in parser._actions:
        if action.help is argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        lines += [f".. option:: {_escaped(heading(action))}", ""]
        lines += [textwrap.indent(_escaped(_plain(action.help or "")), "   "), ""]
    return "\n".join(lines)


def _usage(parser: argparse.ArgumentParser) -> str:
    named = [
        str(action.metavar or action.dest)
        for action in parser._actions
        if not action.option_strings
    ]
    return f".. code-block:: text\n\n   {' '.join([parser.prog, '[OPTIONS]', *named])}"


def heading(action: argparse.Action) -> str:
    """``--form {released,folded}``, or ``RUN_OR_MODEL``."""
    metavar = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())
    if not metavar and action.choices:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return metavar or action.dest
    metavar = metavar.replace("{None}|", "")
    switch = isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0
    return ", ".join(
        f"{name} {metavar}".strip() if not switch else name for name in action.option_strings
    )


def described(text: str) -> str:
    """A command's description: what is indented stands as it is, all else is text."""
    text = re.sub(
        r"^(Example:)\n(?=    )", r"\1\n\n", textwrap.dedent(_plain(text)), flags=re.MULTILINE
    )
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    told = []
    for block in blocks:
        literal = all(line.startswith("    ") for line in block.splitlines())
        told.append(f"::\n\n{block}" if literal else _escaped(block))
    return "\n\n".join(told)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", str(text)).replace("%%", "%")


def _escaped(text: str) -> str:
    """Text outside of backticks without marks that reStructuredText would read."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_|\\])", r"\\\1", part) for part in parts
    )


class CommandHelp(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = shlex.split(self.arguments[0])
        text = f".. program:: spikedriven {words[0]}\n\n*{COMMANDS[words[0]]}*\n\n{as_text(words)}"
        holder = nodes.container(classes=["command-help"])
        self.state.nested_parse(
            StringList(text.splitlines(), source=f"spikedriven {words[0]} --help"), 0, holder
        )
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
