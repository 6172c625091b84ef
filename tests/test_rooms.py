"""The rooms of the package: imports go down the table in docs/architecture.md, and never in a
circle.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "spikedriven"
TABLE = ROOT / "docs" / "architecture.md"

#: module -> modules it imports, those in functions included.
Imports = Mapping[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Qualified name -> file."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> dict[str, set[str]]:
    known = modules(package)
    return {name: set(_imported(path, known, package.name)) for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path], package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, (
                f"{path}: relative imports are not read; write {package}. in full"
            )
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from (
                    [inner] if inner in known else [node.module] if node.module in known else []
                )


def room(module: str) -> str:
    """The room of a module; the package's own __init__ is the room of its name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def order() -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)


def upwards(found: Imports, rooms: list[str]) -> list[str]:
    rank = {name: i for i, name in enumerate(rooms)}
    return [
        f"{a} imports {b}"
        for a, names in found.items()
        for b in names
        if rank[room(a)] < rank[room(b)]
    ]


def circles(found: Imports) -> list[list[str]]:
    """Groups of modules that lead back to each other."""
    reached = {name: _reached(found, name) for name in found}
    groups = {
        tuple(sorted(b for b in reached[a] if a in reached[b])) for a in found if a in reached[a]
    }
    return [list(group) for group in sorted(groups)]


def _reached(found: Imports, start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(found[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += found[name]
    return seen


@pytest.fixture(scope="module")
def ours() -> Imports:
    return {
        name: names for name, names in imports(PACKAGE).items() if name != "spikedriven.__main__"
    }


def test_every_room_stands_in_the_table(ours: Imports):
    rooms = order()
    assert len(set(rooms)) == len(rooms) and set(rooms) == {room(name) for name in ours}


def test_rooms_import_downwards(ours: Imports):
    assert upwards(ours, order()) == []


def test_no_circle_of_modules(ours: Imports):
    assert circles(ours) == []


def test_what_breaks_the_rules_is_found(tmp_path: Path):
    package = tmp_path / "house"
    for name, text in {
        "__init__.py": "",
        "ground/a.py": "def f():\n    from house.roof import b\n",
        "roof/b.py": "import house.ground.a\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = imports(package)
    assert upwards(found, ["ground", "roof", "house"]) == ["house.ground.a imports house.roof.b"]
    assert circles(found) == [["house.ground.a", "house.roof.b"]]
