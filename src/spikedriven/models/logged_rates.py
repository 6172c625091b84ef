"""Firing rates that authors logged, shipped as small files: input for `spikedriven energy NAME
--rates published`."""

from pathlib import Path

from spikedriven.errors import InputError

_FOLDER = Path(__file__).parent / "rates"


def networks_with_rates() -> list[str]:
    """Registered names with logged rates."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def logged_rates(name: str) -> Path:
    """The file for a registered name (see `graph.given_rates`). InputError where nobody logged
    any."""
    if name not in networks_with_rates():
        raise InputError(
            f"no firing rates were published for {name}; they were for "
            f"{', '.join(networks_with_rates())}. "
            "Name a file of your own with --rates FILE"
        )
    return _FOLDER / f"{name}.json"
