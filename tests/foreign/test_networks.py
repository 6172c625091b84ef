"""The table itself: every network fires, and no image depends on its neighbours."""

import pytest
import torch

from spikedriven.neurons.watch import neuron_outputs
from tests.foreign.networks import FOREIGN, Foreign


@pytest.mark.parametrize("one", FOREIGN, ids=str)
def test_neurons_fire_and_images_are_independent(one: Foreign):
    network, rates = one.make().double(), {}
    inputs = tuple(x.double() for x in one.inputs(3))

    def see(name, neuron, output):
        assert output.min() >= 0 and output.max() <= neuron.levels * neuron.unit
        rates.setdefault(name, []).append((output > 0).double().mean().item())

    with torch.no_grad(), neuron_outputs(network, see):
        together = _outputs(network(*inputs))
        alone = _outputs(network(*(x[1:2] for x in inputs)))
    assert all(0.02 < sum(found) / len(found) < 0.7 for found in rates.values()), rates
    for one_of, many in zip(alone, together, strict=True):
        torch.testing.assert_close(one_of[0], many[1], rtol=1e-9, atol=1e-9)


def _outputs(found) -> tuple[torch.Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)
