"""What cannot be lowered, collected and told all at once."""

from dataclasses import dataclass

from spikedriven.errors import InputError


class Unlowered(Exception):  # noqa: N818  # no error of the user yet: it becomes a line of one
    """One node cannot be lowered. reason: why; remedy: what to write instead."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Problem:
    """A node that was not lowered. node: its id and operator; module: who called it."""

    node: str
    module: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.node} in {self.module or 'the model itself'}: {self.reason}; {self.remedy}"


def tell(problems: list[Problem]) -> None:
    """InputError with one line for each problem; nothing where there are none."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = "1 place" if len(problems) == 1 else f"{len(problems)} places"
        raise InputError(f"the engine cannot compile {count} of this network:\n{lines}")
