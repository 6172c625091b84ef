"""Networks of strangers: quantized, and their programs have the same bits."""

import pytest

import spikedriven as sd
from tests.engine.same import check_same
from tests.foreign.networks import FOREIGN, Foreign

#: Between them: real values, counts, loops, transposed layers, several ways of attention, still
#: maps beside steps. The others are slow tests.
DEFAULT = (
    "unet",
    "mobilenet_v2",
    "event_loop",
    "integer_attention",
    "plain_attention",
    "dense_blocks",
    "mixer",
)
#: All but one, whose neuron is its own, which the engine does not have.
COMPILED = [
    one if one.name in DEFAULT else pytest.param(one, marks=pytest.mark.slow)
    for one in FOREIGN if one.name != "own_neuron"
]  # fmt: skip


@pytest.mark.parametrize("one", COMPILED, ids=str)
def test_programs_have_the_bits_of_their_modules(one: Foreign) -> None:
    network, inputs = one.make(), one.inputs(3)
    example = inputs if len(inputs) > 1 else inputs[0]
    quantized = sd.quantize(network, example)
    assert quantized.quantization.left == () and type(quantized) is type(network)
    check_same(quantized, sd.compile(quantized, example), inputs)


def test_a_network_that_the_engine_cannot_compile_is_quantized_all_the_same() -> None:
    (one,) = [one for one in FOREIGN if one.name == "own_neuron"]
    quantized = sd.quantize(one.make(), one.inputs(3)[0])
    assert quantized(*one.inputs(2)).shape == (2, 5)
