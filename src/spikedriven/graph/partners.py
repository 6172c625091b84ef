"""ANNs of the same shape as a spiking network: one dense pass, at the same prices and with the same
memory."""

import math
from collections.abc import Iterable
from dataclasses import replace

from spikedriven.graph.compare import Comparison, Partner, break_even, mean_rate
from spikedriven.graph.counts import PRODUCT_OPS, WEIGHT_OPS, AttentionShape, Layer, Read
from spikedriven.graph.measurement import Measurement
from spikedriven.graph.prices import Prices
from spikedriven.graph.pricing import ADD_8_BIT, MULTIPLY_8_BIT, TECHNOLOGIES, Cost


def partner_cost(layer: Layer, prices: Prices) -> Cost:
    """What the layer costs in a dense ANN: the multiply-accumulates of one pass, and their memory
    traffic."""
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return Cost()
    rule, memory = prices.convention, prices.memory
    counted = rule.counted(layer)
    if memory is None or rule.partner_moves is None:
        return Cost(macs=counted.dense_ops, weight_bits=layer.weight_bits)
    macs, accesses = counted.dense_ops * (1.0 - memory.zeros), rule.partner_moves(counted, memory)
    return Cost(macs=macs, accesses=accesses, weight_bits=layer.weight_bits)


def compare(measurement: Measurement, prices: Prices) -> Comparison:
    """Beside ANNs in the convention's own technology, in fp32 and in int8, and with matched bits
    where it says so."""
    names = dict.fromkeys((prices.technology.name, "fp32", "int8"))
    partners = [_partner(measurement, prices.at(TECHNOLOGIES[name]), name) for name in names]
    if prices.convention.matched:
        partners.append(_matched(measurement, prices))
    return Comparison(
        partners=tuple(partners),
        dense_macs=sum(layer.dense_ops for layer in measurement.multiplying),
        mean_rate=mean_rate(measurement.layers),
        steps=measurement.steps,
        memory_counted=prices.memory is not None,
    )


def _partner(
    measurement: Measurement, prices: Prices, name: str, ann: Prices | None = None
) -> Partner:
    dense = _total(
        (partner_cost(layer, ann or prices) for layer in measurement.layers), ann or prices
    )
    spiking, silent = (
        _total(
            (
                prices.convention.cost(at_rate(layer, f), prices.memory)
                for layer in measurement.layers
            ),
            prices,
        )
        for f in (1.0, 0.0)
    )
    return Partner(name, dense, spiking, break_even(dense, silent, spiking))


def _total(costs: Iterable[Cost], prices: Prices) -> float:
    return sum(prices.total(cost) for cost in costs if cost.counted) * 1e-9


def _matched(measurement: Measurement, prices: Prices) -> Partner:
    """The quantised ANN whose activations tell apart as much as the counts over all binary steps: 0
    .. T x D."""
    assert prices.memory is not None
    bits = math.ceil(math.log2(measurement.steps + 1))
    price = MULTIPLY_8_BIT * bits / 8 + ADD_8_BIT
    technology = replace(prices.technology, mac_pj=price, by_weights=False)
    name = f"activations of {bits} bits" if bits > 1 else "activations of 1 bit"
    ann = replace(
        prices, technology=technology, memory=replace(prices.memory, activation_bits=bits)
    )
    return _partner(measurement, prices, name, ann)


def at_rate(layer: Layer, factor: float) -> Layer:
    """The layer with all rates times a factor."""
    if factor == 1.0:
        return layer

    def scaled(read: Read) -> Read:
        return replace(read, rate=read.rate * factor) if read.spiking else read

    attention: AttentionShape | None = layer.attention
    if attention is not None:
        attention = replace(
            attention, q=scaled(attention.q), k=scaled(attention.k), v=scaled(attention.v)
        )
    output = None if layer.output is None else scaled(layer.output)
    return replace(layer, reads=tuple(map(scaled, layer.reads)), attention=attention, output=output)
