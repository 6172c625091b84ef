"""Rules that count arithmetic only: those of the papers whose networks are in this package, and one
of our own."""

from collections.abc import Callable

from spikedriven.graph.counts import PRODUCT_OPS, WEIGHT_OPS, AttentionShape, Layer
from spikedriven.graph.pricing import LEFT_OUT, Cost


def macs_of(ops: float) -> Cost:
    return Cost(macs=ops, formula=f"E_MAC x {ops:.6g} operations")


def acs_of(ops: float, rate: float, what: str = "rate") -> Cost:
    return Cost(acs=ops * rate, formula=f"E_AC x {rate:.6g} {what} x {ops:.6g} operations")


def sdt(layer: Layer) -> Cost:
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    if not layer.spiking:
        return macs_of(layer.ops)
    # k * v and q * a cost the rate of k and of q: what stands first in the product.
    first = layer.reads[0] if layer.op == "multiply" and layer.reads[0].spiking else None
    return acs_of(layer.ops, first.rate if first else layer.rate)


def sfa(layer: Layer) -> Cost:
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    if not layer.spiking:
        return macs_of(layer.ops)
    nsfr = layer.rate / layer.levels
    cost = layer.ops * layer.rate
    return Cost(
        acs=cost, formula=f"E_AC x D {layer.levels} x NSFR {nsfr:.6g} x {layer.ops:.6g} operations"
    )


#: (width, heads) -> heads in the counter's own table, where it differs: it says 12 for the 768-wide
#: model with 8.
COUNTER_HEADS = {(768, 8): 12}


def spikingformer(layer: Layer) -> Cost:
    """With the heads that the network has."""
    return _counter(layer, {})


def spikingformer_log(layer: Layer) -> Cost:
    """With the heads of the counter's own table, as the published logs were computed."""
    return _counter(layer, COUNTER_HEADS)


def _counter(layer: Layer, table: dict[tuple[int, int], int]) -> Cost:
    if layer.op in WEIGHT_OPS:
        ops = layer.ops + layer.bias_ops
        return acs_of(ops, layer.rate) if layer.spiking else macs_of(ops)
    if layer.attention is not None:
        return _counter_attention(layer.attention, table)
    return _counter_module(layer)


def _counter_attention(shape: AttentionShape, table: dict[tuple[int, int], int]) -> Cost:
    heads = table.get((shape.heads * shape.dim, shape.heads), shape.heads)
    per_head = (shape.heads * shape.dim / heads) * (shape.heads * shape.value_dim / heads)
    ops, rate = (
        shape.steps * heads * shape.tokens * per_head,
        min(shape.k.rate, shape.v.rate) + shape.q.rate,
    )
    cost = acs_of(ops, rate, "min(r_k, r_v) + r_q")
    return Cost(acs=cost.acs, formula=f"{cost.formula} (T h N d^2 with h = {heads})")


def _counter_module(layer: Layer) -> Cost:
    """Modules that the counter adds up for its totals, but leaves out of its energy."""
    if layer.op == "batchnorm":
        return Cost(macs=2 * layer.elements, counted=False)
    if layer.op == "neuron":
        return Cost(acs=layer.elements, counted=False)
    if layer.op in ("maxpool", "avgpool"):
        spikes = Cost(acs=layer.inputs * layer.rate, counted=False)
        return spikes if layer.spiking else Cost(macs=layer.inputs, counted=False)
    return LEFT_OUT


def all_ops(layer: Layer) -> Cost:
    if layer.op in WEIGHT_OPS:
        cost = acs_of(layer.ops, layer.rate) if layer.spiking else macs_of(layer.ops)
        return Cost(
            cost.macs,
            cost.acs + layer.bias_ops,
            True,
            f"{cost.formula} + {layer.bias_ops:.6g} bias",
        )
    if layer.op in PRODUCT_OPS:
        return acs_of(layer.ops, layer.rate) if layer.spiking else macs_of(layer.ops)
    return _ELEMENTWISE[layer.op](layer)


def _lif_or_integer(layer: Layer) -> Cost:
    return Cost(
        macs=layer.elements,
        acs=2 * layer.elements,
        formula="1 MAC (leak) + 2 AC (compare, reset) per element",
    )


def _averaged(layer: Layer) -> Cost:
    return Cost(
        layer.elements, layer.inputs * layer.rate, formula="1 AC per value read, 1 MAC per mean"
    )


def _one_mac(layer: Layer) -> Cost:
    return Cost(macs=layer.elements, formula="1 MAC per element")


def _one_ac(layer: Layer) -> Cost:
    return Cost(acs=layer.elements, formula="1 AC per element")


_ELEMENTWISE: dict[str, Callable[[Layer], Cost]] = {
    "neuron": _lif_or_integer,
    "batchnorm": _one_mac,
    "scale": _one_mac,
    "divide": _one_mac,
    "activation": _one_mac,
    "add": _one_ac,
    "sum": lambda layer: acs_of(layer.inputs, layer.rate),
    "mean": _averaged,
    "avgpool": _averaged,
    "interpolate": lambda layer: Cost(
        macs=4 * layer.elements, formula="4 MACs per element (bilinear)"
    ),
    "maxpool": lambda layer: acs_of(layer.elements, max(layer.window - 1, 1), "comparisons"),
}


def lemaire(layer: Layer) -> Cost:
    """Lemaire et al. 2022: synapses, biases, leak and reset, and the additions that find addresses.

    Equations 1, 2, 16 and 17, with two corrections that the authors' own tool makes: a spike into a
    linear layer triggers one addition per output, and every spike put out costs one for the reset.
    """
    if layer.op == "neuron":
        return Cost(
            layer.elements,
            layer.spikes,
            formula="1 MAC (leak) per element and step, 1 AC (reset) per spike",
        )
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    if not layer.spiking:
        addresses = layer.inputs + layer.elements + layer.weights
        return Cost(
            layer.ops,
            layer.bias_ops + addresses,
            formula=f"{layer.ops:.6g} MACs, {addresses:.6g} addresses",
        )
    additions, spikes = layer.ops * layer.rate, layer.inputs * layer.rate
    found = 2 * spikes if layer.op == "conv" else 0.0
    return Cost(
        found,
        2 * additions + layer.bias_ops,
        formula=f"{additions:.6g} additions, as many addresses, {layer.bias_ops:.6g} bias",
    )


def synapses_and_neurons(layer: Layer) -> Cost:
    """Additions behind spikes, biases, and per neuron and step one leak (MAC) and one comparison
    (AC)."""
    if layer.op == "neuron":
        return Cost(
            layer.elements,
            layer.elements,
            formula="1 MAC (leak) + 1 AC (compare) per element and step",
        )
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    cost = acs_of(layer.ops, layer.rate) if layer.spiking else macs_of(layer.ops)
    return Cost(
        cost.macs, cost.acs + layer.bias_ops, formula=f"{cost.formula} + {layer.bias_ops:.6g} bias"
    )
