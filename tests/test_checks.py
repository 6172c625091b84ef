"""Values of a configuration are refused in one way: field, what was found, what was expected."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from spikedriven.checks import check_choices, check_numbers, check_whole, within
from spikedriven.errors import RecipeError


@dataclass
class Section:
    count: Any = 1
    share: Any = 0.5
    kind: Literal["one", "two"] = "one"
    maybe: Literal[1, 2] | None = None


@pytest.mark.parametrize(
    ("value", "interval", "inside"),
    [
        (0, "[0, 1)", True),
        (1, "[0, 1)", False),
        (0, "(0, 1]", False),
        (1, "(0, 1]", True),
        (1e30, "[0, inf)", True),
        (float("inf"), "[0, inf)", False),
        (float("nan"), "[0, inf)", False),
    ],
)
def test_intervals_are_those_of_mathematics(value: float, interval: str, inside: bool):
    assert within(value, interval) is inside


def test_what_is_refused_names_field_found_and_expected():
    with pytest.raises(RecipeError, match=r"^run\.count: found 0, expected a whole number of at"):
        check_whole(Section(count=0), {"count": 1}, "run")
    for odd in (1.0, True, "1"):
        with pytest.raises(RecipeError, match=r"^count: found .*, expected a whole number"):
            check_whole(Section(count=odd), {"count": 0})
    with pytest.raises(RecipeError, match=r"^share: found 2, expected a number in \[0, 1\]"):
        check_numbers(Section(share=2), {"share": "[0, 1]"})
    with pytest.raises(RecipeError, match=r"^kind: found 'three', expected one of one, two"):
        check_choices(Section(kind="three"))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"^maybe: found 3, expected one of 1, 2"):
        check_choices(Section(maybe=3))  # type: ignore[arg-type]


def test_what_is_not_given_is_not_looked_at():
    empty = Section(count=None, share=None)
    check_whole(empty, {"count": 1})
    check_numbers(empty, {"share": "[0, 1]"})
    check_choices(empty)
