"""What files import at their top is declared: a package that another one happens to bring may
go with it.
"""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"spikedriven", "tests", *(path.stem for path in (ROOT / "tools").iterdir())}


def imported(path: Path) -> set[str]:
    """The packages that a file imports as soon as it is read."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OWN


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str | None = None) -> set[str]:
    """The distributions that pyproject.toml asks for: with an extra, or with all of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    open_ = list(extras) if extra is None else [extra]
    wanted = list(project["dependencies"])
    for name in open_:  # an extra may ask for others
        for text in extras[name]:
            more = re.match(r"spikedriven\[(.*)\]", text)
            if more is None:
                wanted.append(text)
            else:
                open_ += [other for other in more[1].split(",") if other not in open_]
    return {normal(re.split(r"[\s\[<>=!;]", text)[0]) for text in wanted}


def undeclared(folder: str, known: set[str]) -> set[str]:
    distributions = packages_distributions()
    return {
        f"{path.relative_to(ROOT)}: {package}"
        for path in (ROOT / folder).rglob("*.py")
        for package in imported(path)
        if not known & {normal(name) for name in distributions.get(package, [package])}
    }


def test_what_the_package_imports_is_declared():
    assert not undeclared("src", declared())


def test_what_the_tests_import_is_in_their_extra():
    assert not undeclared("tests", declared("test"))


def test_an_import_that_is_not_declared_is_found(tmp_path):
    file = tmp_path / "reader.py"
    file.write_text(
        "import json\nimport scipy.io\nfrom spikedriven import audit\nfrom . import x\n"
    )
    assert imported(file) == {"scipy"}
