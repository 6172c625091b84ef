"""Every command line of this package that stands in a text, and whether the parser takes it."""

import ast
import contextlib
import functools
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tyro

from spikedriven.cli import COMMANDS, main
from spikedriven.recipes import list_recipes
from tests.plugins import taken_back

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "src" / "spikedriven" / "recipes"
PLUGIN = ROOT / "examples" / "own_network"
#: Sections of a recipe, whose fields are options of `train`.
_SECTIONS = "data|model|optim|schedule|loss|distill|run"
_COMMAND = rf"spikedriven (?:{'|'.join(COMMANDS)})\b"
_BEGINS = re.compile(rf"^\s*(?:[#$>*] ?)?((?:torchrun |python3? |{_COMMAND}).*)$")
_QUOTED = re.compile(r"`+([^`\n]+)`+")
_SAID = re.compile(rf": ({_COMMAND}[^`.;]*)$")
_MARKS = ".,:;)"
_OPTION = re.compile(rf"--(?:{_SECTIONS})\.[\w.-]+")


class Parsed(Exception):  # noqa: N818
    """The words were taken; nothing was run."""


def texts() -> list[Path]:
    """Files in which users read command lines."""
    folders = (
        "docs/**/*.md",
        "examples/**/*.md",
        "examples/**/*.py",
        "src/**/*.md",
        "src/**/*.py",
        "src/**/*.yaml",
    )
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return sorted(found + [path for pattern in folders for path in ROOT.glob(pattern)])


def command_lines(path: Path) -> list[str]:
    """Command lines `spikedriven ...` of a file, as written, each once; options that stand alone in
    the comments of a recipe are those of training it."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        lines = [line for text in _strings(content) for line in _in_text(text)]
    elif path.suffix == ".yaml":
        comments = "\n".join(re.findall(r"#(.*)$", content, re.MULTILINE))
        lines = [*_in_text(comments), *_options_of_recipe(comments, path.stem)]
    else:
        lines = list(_in_text(content))
    return list(dict.fromkeys(lines))


def _strings(source: str) -> Iterator[str]:
    """Texts of a Python file; what an f-string puts in is VALUE."""
    tree = ast.parse(source)
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "VALUE"
                for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield node.value


def _in_text(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        begins, said = _BEGINS.match(line), _SAID.search(line)
        if begins and re.search(_COMMAND, begins[1]):
            yield begins[1]
            continue
        quoted = _QUOTED.findall(line)
        yield from (part for part in quoted if re.search(_COMMAND, part) or part.startswith("--"))
        if said and not quoted:
            yield said[1]


def _options_of_recipe(comments: str, recipe: str) -> Iterator[str]:
    """Options `--data.img-size 384 --optim.lr 1e-3` in a comment, those that follow each other as
    one command line."""
    for line in comments.splitlines():
        found: list[str] = []
        for word in line.split():
            option = _OPTION.fullmatch(word.rstrip(_MARKS))
            if option or (found and _is_value(word, found)):
                found.append(word.rstrip(_MARKS))
                if word[-1] not in _MARKS:
                    continue
            if found:
                yield " ".join(["spikedriven", "train", recipe, *found])
                found = []
        if found:
            yield " ".join(["spikedriven", "train", recipe, *found])


def _is_value(word: str, before: list[str]) -> bool:
    """Whether a word of a comment is the value of the option before it, or a second number of
    it."""
    return word[0] not in "([" and (
        before[-1].startswith("--") or re.fullmatch(r"[\d.e-]+", word) is not None
    )


def refusal(line: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What the parser says against a command line; None where it takes it. Nothing is run.

    A plugin is that of the example, whose page says that commands are given in its folder.
    """
    monkeypatch.setattr(tyro, "cli", _parse_only(tyro.cli))
    if "--plugin" not in line:
        return _refused(line)
    with contextlib.chdir(PLUGIN), taken_back():
        return _refused(re.sub(r"--plugin [A-Z]+\b", "--plugin own_network", line))


def _refused(line: str) -> str | None:
    answers = []
    for words in _readings(line):
        try:
            status = main(words)
        except Parsed:
            return None
        answers.append(f"exit status {status}")
        if status == 0:
            return None
    return answers[0] if answers else None


def _parse_only(cli: Any) -> Any:
    if hasattr(cli, "parses_only"):
        return cli

    def parse(target: Any, **options: Any) -> None:
        cli(_idle(target) if inspect.isfunction(target) else target, **options)
        raise Parsed

    parse.parses_only = True  # type: ignore[attr-defined]
    return parse


def _idle(function: Any) -> Any:
    """A function of the same parameters that does nothing."""

    @functools.wraps(function)
    def stub(*_: Any, **__: Any) -> None: ...

    return stub


def _readings(line: str) -> list[list[str]]:
    """The words behind `spikedriven`: as they stand, and with 1 for what stands for a number."""
    line = re.sub(r"\s{2,}\(.*$", "", line)
    line = re.split(r"\s(?:[|>]|&&)\s|\s#", line)[0].replace("...", "").rstrip(" " + _MARKS)
    words = (
        []
        if any(mark in line for mark in "{}[]<>`")
        else [word for word in shlex.split(line) if word]
    )
    if len(words) > 1 and words[0].startswith("--"):
        owners = _TRAINED if _OPTION.match(words[0]) else _FRAGMENT_OF
        return [reading for command in owners for reading in _numbered([*command, *words])]
    if "spikedriven" not in words:
        return []
    words = words[words.index("spikedriven") + 1 :]
    is_name = len(words) == 1 and words[0] not in (
        "data",
        "demo",
        "models",
    )  # of a command, in a sentence
    return _numbered(_with_recipe(words)) if words and words[0] in COMMANDS and not is_name else []


#: What options that stand without their command may belong to.
_SECTIONED = ("quickstart", "sdt_gesture_2_256_t16", "spike_mae_imagenet_12_512")
_OWN = ("own_classification", "own_detection", "own_events")
_TRAINED = [["train", name] for name in (*_SECTIONED, *_OWN)]
_FRAGMENT_OF = [
    *([command, "NAME"] for command in ("eval", "energy", "audit", "compile", "report", "models")),
    *([command, "NAME", "FILE"] for command in ("attention", "predict", "stream", "export")),
    ["convert", "NAME", "FILE", "FILE"],
    ["data"],
    ["demo"],
    ["bench", "engine"],
    ["bench", "train"],
]


def _with_recipe(words: list[str]) -> list[str]:
    """A run folder, or what stands for one, as a recipe that ships: `train` reads it before it
    parses."""
    if words[0] != "train" or len(words) < 2 or words[1].startswith("-"):
        return words
    known, name = list_recipes(), words[1]
    if name not in known and (
        name.startswith("runs/") or re.fullmatch(r"[A-Z/]+(recipe\.yaml)?", name)
    ):
        stem = Path(name).name
        return ["train", stem if stem in known else "quickstart", *words[2:]]
    return words


def _numbered(words: list[str]) -> list[list[str]]:
    numbered = [re.sub(r"^[A-Z]+$", "1", word) for word in words]
    return [words] if numbered == words else [words, [*words[:2], *numbered[2:]]]
