"""What a convention is made of: prices of operations, what a layer costs, the rule itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from spikedriven.graph.counts import Layer
from spikedriven.graph.memory import Access, Memory


@dataclass(frozen=True)
class Technology:
    """Price of one multiply-accumulate and one accumulate, in picojoule. bits: of the numbers they
    work on. by_weights: a layer with integer weights has prices of its own (`of_weights`)."""

    name: str
    mac_pj: float
    ac_pj: float
    source: str
    bits: int = 32
    by_weights: bool = False

    def of_weights(self, bits: int | None) -> tuple[float, float]:
        """(multiply-accumulate, accumulate) of a layer whose weights have so many bits; None:
        no integers.
        """
        if not self.by_weights or bits is None:
            return self.mac_pj, self.ac_pj
        add = ADD_8_BIT * bits / 8 if bits <= 8 else ADD_16_BIT
        return MULTIPLY_8_BIT * bits / 8 + add, add


#: Picojoule of integer operations (Horowitz, ISSCC 2014): 8 bits times 8 bits, additions of 8 and
#: of 16 bits.
MULTIPLY_8_BIT, ADD_8_BIT, ADD_16_BIT = 0.2, 0.03, 0.05

_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, 0.9 V)"
TECHNOLOGIES = {
    "fp32": Technology("fp32", 4.6, 0.9, _HOROWITZ),
    "int32": Technology("int32", 3.2, 0.1, _HOROWITZ),
    "int8": Technology("int8", 0.23, 0.03, _HOROWITZ, 8),
    "weights": Technology(
        "weights",
        3.2,
        0.1,
        f"{_HOROWITZ}; a weight of b bits is added for b / 8 of an 8-bit addition (0.03 pJ) and "
        "multiplied by an 8-bit "
        "value for b / 8 of an 8-bit multiplication (0.2 pJ): that proportion is ours; everything "
        "else as int32",
        by_weights=True,
    ),
}


@dataclass(frozen=True)
class Cost:
    """What one layer costs. counted: whether the convention's energy includes it. formula: the
    numbers behind it.

    accesses: values moved between the memory and the arithmetic, where the convention counts them.
    weight_bits: of integer weights.
    """

    macs: float = 0.0
    acs: float = 0.0
    counted: bool = True
    formula: str = ""
    accesses: tuple[Access, ...] = ()
    weight_bits: int | None = None


LEFT_OUT = Cost(counted=False)


@dataclass(frozen=True)
class Convention:
    """A named rule.

    formula: in words and symbols. source: where it is defined. rule: layer -> `Cost`. padding:
    whether operations on zero padding are counted. technology: the prices it is defined with.
    memory: defaults of its memory, None where it counts arithmetic only. moves, partner_moves: the
    accesses of a layer of the spiking network, and of the same layer in a dense ANN. matched: its
    quantised partner has ceil(log2(T x D + 1)) bits per activation instead of 8.
    """

    name: str
    formula: str
    source: str
    rule: Callable[[Layer], Cost]
    padding: bool = True
    technology: str = "fp32"
    memory: Memory | None = None
    moves: Callable[[Layer, Memory], tuple[Access, ...]] | None = None
    partner_moves: Callable[[Layer, Memory], tuple[Access, ...]] | None = None
    matched: bool = False

    def cost(self, layer: Layer, memory: Memory | None = None) -> Cost:
        """Of one layer, with its padding counted or not, as the convention says.

        memory: with all its bits (see `prices`); without one, the arithmetic only."""
        counted = self.counted(layer)
        found = replace(self.rule(counted), weight_bits=layer.weight_bits)
        if self.moves is None or memory is None or not found.counted:
            return found
        return replace(found, accesses=self.moves(counted, memory))

    def counted(self, layer: Layer) -> Layer:
        """The layer without the operations that the convention leaves out."""
        return (
            layer
            if self.padding
            else replace(layer, ops=layer.ops - layer.padding_ops, padding_ops=0.0)
        )
