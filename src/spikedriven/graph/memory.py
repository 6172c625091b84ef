"""Memory traffic: how many values a layer reads and writes, and what one access costs.

Three ways of counting, each used by a named convention (see `conventions`):

* event by event (Lemaire et al. 2022): every addition reads its weight, and reads and writes its
  membrane; nothing is kept in registers. A dense layer reads weight and input for every
  multiply-accumulate;
* the same with values packed into words of 64 bits, as the authors' later tool does;
* weights from outside once (after Yan et al., arXiv 2409.08290): weights come from off-chip memory
  once per image, every addition reads its weight on chip, a membrane is read and written once per
  neuron and step, a spike is one address.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from spikedriven.graph.counts import PRODUCT_OPS, WEIGHT_OPS, Layer

Place = Literal["on-chip", "off-chip"]

#: Bytes of an SRAM -> picojoule per access of one word (Horowitz, ISSCC 2014: 8 KB, 32 KB, 1 MB),
#: between which Lemaire et al. interpolate. Larger memories cost what 1 MB costs: a lower bound.
SRAM_PJ = ((0.0, 0.0), (8 * 1024.0, 10.0), (32 * 1024.0, 20.0), (1024 * 1024.0, 100.0))
#: Bits of the word that those prices are for.
WORD = 64


@dataclass(frozen=True)
class Memory:
    """Parameters of memory traffic. Every convention that counts it has its own defaults.

    weight_bits, membrane_bits, activation_bits: of one weight, of one membrane or partial sum, of
    one real value that a layer of an ANN hands on. None: the bits of the technology (32 or 8).
    weights, membranes, spikes: where they are kept. on_chip_pj: picojoule per bit on chip; None: by
    the size of the memory that the layer needs (`SRAM_PJ`). off_chip_pj: per bit from DRAM
    (Horowitz, ISSCC 2014: 1.3 to 2.6 nJ for 64 bits; the lower end). packed: an access moves as
    many values as fit into a word of 64 bits, not one. zeros: share of activations that are 0 in
    the ANN, and are skipped by it.
    """

    weight_bits: int | None = None
    membrane_bits: int | None = None
    activation_bits: int | None = None
    weights: Place = "on-chip"
    membranes: Place = "on-chip"
    spikes: Place = "on-chip"
    on_chip_pj: float | None = None
    off_chip_pj: float = 1300 / 64
    packed: bool = True
    zeros: float = 0.0

    def price(self, access: "Access") -> float:
        """Picojoule of one read or write of one value."""
        if access.place == "off-chip":
            return access.bits * self.off_chip_pj
        if self.on_chip_pj is not None:
            return access.bits * self.on_chip_pj
        word = sram_pj(access.size * access.bits / 8)
        return word * access.bits / WORD if self.packed else word

    def picojoule(self, access: "Access") -> float:
        """Of all its reads and writes."""
        return (access.read + access.written) * self.price(access)


@dataclass(frozen=True)
class Access:
    """Values of one kind that a layer moves for one image.

    what: "weights", "membranes", "spikes" or "activations". read, written: how many. bits: of one.
    size: values that the memory holds. place: where it is.
    """

    what: str
    read: float
    written: float
    bits: float
    size: float
    place: Place = "on-chip"


def sram_pj(size: float) -> float:
    """Picojoule per access of an on-chip memory of so many bytes, interpolated linearly."""
    for (low, cheap), (high, dear) in pairwise(SRAM_PJ):
        if size <= high:
            return cheap + (dear - cheap) * (size - low) / (high - low)
    return SRAM_PJ[-1][1]


def _bits(value: int | None) -> int:
    assert value is not None, "the convention fills in the bits of the technology"
    return value


def _weight_bits(layer: Layer, memory: Memory) -> int:
    """Those of integer weights, where a layer has them."""
    return layer.weight_bits or _bits(memory.weight_bits)


def _spikes_read(layer: Layer) -> float:
    return layer.inputs * layer.rate


def _real(layer: Layer, memory: Memory, macs: float) -> tuple[Access, ...]:
    """A layer that multiplies real values: weight and input read for every multiply-accumulate,
    each output written. A linear layer reads its input once (Lemaire et al., equations 3 to 6, 11,
    12)."""
    inputs = layer.inputs / layer.passes if layer.op == "linear" else macs
    once = layer.inputs / layer.passes, layer.elements / layer.passes
    bits = _bits(memory.activation_bits)
    return (
        Access(
            "weights",
            macs + once[1] * bool(layer.biases),
            0,
            _weight_bits(layer, memory),
            _weights(layer),
            memory.weights,
        ),
        Access("activations", inputs, 0, bits, once[0]),
        Access("activations", 0, once[1], bits, once[1]),
    )


def _weights(layer: Layer) -> float:
    """Values of the weight and the bias; in a product of activations the second operand takes their
    place."""
    return layer.weights + layer.biases or layer.ops / max(layer.elements, 1.0)


def by_event(layer: Layer, memory: Memory) -> tuple[Access, ...]:
    """Lemaire et al., equations 5, 7, 8 and 13 to 15: theta spikes, each with its fan-out. Fan-outs
    are counted exactly (strides, groups, padding), where the paper takes kernel times output
    channels. Products of two spiking values are not in the paper: here the denser operand takes the
    place of the weights."""
    if layer.op == "neuron":
        state = layer.elements / layer.passes
        return (
            Access(
                "membranes",
                layer.elements,
                layer.elements,
                _bits(memory.membrane_bits),
                state,
                memory.membranes,
            ),
            Access("spikes", 0, layer.spikes, 1, state, memory.spikes),
        )
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return ()
    if not layer.spiking:
        passes = (
            Access(a.what, a.read * layer.passes, a.written * layer.passes, a.bits, a.size, a.place)
            for a in _real(layer, memory, layer.dense_ops)
        )
        return tuple(passes)
    additions, state = layer.ops * layer.rate, layer.elements / layer.passes
    return (
        Access(
            "weights",
            additions + layer.bias_ops,
            0,
            _weight_bits(layer, memory),
            _weights(layer),
            memory.weights,
        ),
        Access(
            "membranes", additions, additions, _bits(memory.membrane_bits), state, memory.membranes
        ),
        Access("spikes", _spikes_read(layer), 0, 1, layer.inputs / layer.passes, memory.spikes),
    )


def partner_by_operation(layer: Layer, memory: Memory) -> tuple[Access, ...]:
    """The same layer in a dense ANN, one pass."""
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return ()
    return _real(layer, memory, layer.dense_ops * (1 - memory.zeros))


def _loaded(layer: Layer, memory: Memory) -> Access:
    """Weights and biases from off-chip memory, once per image."""
    return Access(
        "weights", layer.weights + layer.biases, 0, _weight_bits(layer, memory), 0, "off-chip"
    )


def by_step(layer: Layer, memory: Memory) -> tuple[Access, ...]:
    """Weights from off chip once; additions read them on chip; a spike is an address; a membrane is
    read and written once per neuron and step."""
    state = layer.elements / layer.passes
    if layer.op == "neuron":
        return (
            Access(
                "membranes",
                layer.elements,
                layer.elements,
                _bits(memory.membrane_bits),
                state,
                memory.membranes,
            ),
            Access("spikes", 0, layer.spikes, _address(state), state, memory.spikes),
        )
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return ()
    operations = layer.ops * layer.rate
    on_chip = Access(
        "weights", operations, 0, _weight_bits(layer, memory), _weights(layer), memory.weights
    )
    inputs = layer.inputs / layer.passes
    if not layer.spiking:
        return (
            _loaded(layer, memory),
            on_chip,
            Access("activations", layer.inputs, 0, _bits(memory.activation_bits), inputs),
        )
    return (
        _loaded(layer, memory),
        on_chip,
        Access("spikes", _spikes_read(layer), 0, _address(inputs), inputs, memory.spikes),
    )


def _address(size: float) -> float:
    """Bits that name one of so many values."""
    return max(1.0, math.ceil(math.log2(max(size, 2.0))))


def partner_by_step(layer: Layer, memory: Memory) -> tuple[Access, ...]:
    """The same layer in a dense ANN: weights from off chip once, read on chip for every
    multiply-accumulate; each activation read and written once."""
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return ()
    macs = layer.dense_ops * (1 - memory.zeros)
    inputs, outputs = layer.inputs / layer.passes, layer.elements / layer.passes
    bits = _bits(memory.activation_bits)
    return (
        _loaded(layer, memory),
        Access("weights", macs, 0, _weight_bits(layer, memory), _weights(layer), memory.weights),
        Access("activations", inputs, 0, bits, inputs),
        Access("activations", 0, outputs, bits, outputs),
    )
