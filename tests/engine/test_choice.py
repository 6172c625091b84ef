"""The larger and smaller of two counts, and counts cut off: the program gives what the network
gives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikedriven.engine.lower import lower
from spikedriven.engine.program import WeightLayer
from spikedriven.errors import InputError
from spikedriven.neurons import LIF, IntegerNeuron
from tests.engine.exact import exact, halves
from tests.engine.test_lower import assert_program_is

FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "or": torch.maximum,
    "and": torch.minimum,
    "max of two": lambda a, b: torch.max(a, b),
    "cut sum": lambda a, b: (a + b).clamp(max=1),
    "hardtanh": lambda a, b: nn.functional.hardtanh(a + b, 0.0, 1.0),
}


class Two(nn.Module):
    """Two neurons read one layer's halves, a function joins them, another layer reads the
    result."""

    def __init__(
        self, join: Callable[[Tensor, Tensor], Tensor], neuron: Callable[[], nn.Module] = LIF
    ) -> None:
        super().__init__()
        self.conv, self.after, self.join = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 5, 1), join
        self.one, self.other = neuron(), neuron()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv(x).unsqueeze(0).expand(2, -1, -1, -1, -1).chunk(2, 2)
        joined = self.join(self.one(a), self.other(b))
        return self.after(joined.flatten(0, 1)).unflatten(0, (2, -1)).mean(0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("neuron", [LIF, lambda: IntegerNeuron(4)], ids=["spikes", "counts"])
def test_counts_are_chosen_as_the_network_chooses(
    form: str, neuron: Callable[[], nn.Module]
) -> None:
    plan = assert_program_is(exact(Two(FORMS[form], neuron)), halves(2, 3, 6, 6)).plan
    last = [operation for operation in plan.operations if isinstance(operation, WeightLayer)][-1]
    assert plan.maps[last.source].kind == "spikes"  # what was chosen is counts again


def test_real_values_are_not_chosen_between() -> None:
    class Real(Two):
        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(*self.conv(x).chunk(2, 1))

    with pytest.raises(
        InputError, match=r"chooses between real values.*put a neuron in front of each"
    ):
        lower(Real(torch.maximum).eval(), (halves(2, 3, 6, 6),))
