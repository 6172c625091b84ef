"""What the lists of networks and recipes show of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """One registered network. parameters: of the released form, unused ones included."""

    name: str
    parameters: int
    time_steps: int
    input: str
    published: str
    source: str


@dataclass(frozen=True)
class Recipe:
    """One recipe, as `train --list` shows it. epochs: with the cooldown."""

    name: str
    data: str
    epochs: int
    description: str
