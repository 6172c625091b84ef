"""The lowest versions that pyproject.toml promises to work with, as constraints for pip.

`make test-lowest` installs them.

    python tools/lowest.py > lowest.txt

One line `name==version` for every dependency and for everything in an extra. A requirement without
a lower bound (Triton, which comes in the version that fits PyTorch) is left out: pip then decides.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
#: `name`, `name>=1.2` or `name==1.2`, with extras before it and a marker behind it.
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?((>=|==)(?P<version>[\w.]+))?(\s*;.*)?")
#: The oldest Python of the package, for which the oldest versions have wheels; younger Pythons
#: start later.
PYTHON = (3, 11)


def lowest_versions(pyproject: dict) -> dict[str, str]:
    """Name -> lowest version. ValueError for a requirement that cannot be read, or two bounds
    for one name.
    """
    project = pyproject["project"]
    optional = [line for extra in project["optional-dependencies"].values() for line in extra]
    lowest: dict[str, str] = {}
    for line in [*project["dependencies"], *optional]:
        found = REQUIREMENT.fullmatch(line)
        if found is None:
            raise ValueError(
                f"pyproject.toml: {line!r} is neither NAME nor NAME>=VERSION nor NAME==VERSION"
            )
        name, version = found["name"], found["version"]
        if version and lowest.setdefault(name, version) != version:
            raise ValueError(
                f"pyproject.toml: {name} from {lowest[name]} in one place and from {version} in "
                "another"
            )
    return lowest


def main() -> None:
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        sys.exit(
            f"Missing: Python {wanted}, for which the lowest versions have wheels; this is "
            f"{sys.version_info[0]}.{sys.version_info[1]}. Try: make test-lowest "
            f"PYTHON=python{wanted}"
        )
    for name, version in lowest_versions(tomllib.loads(PYPROJECT.read_text())).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
