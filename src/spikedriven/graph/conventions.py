"""Energy conventions: the rules by which papers turn firing rates into millijoules, as named objects.

Each says which layers count, how many multiply-accumulates (MAC) and accumulates (AC) they cost, and where the rule
comes from. Energy is ``MACs x E_MAC + ACs x E_AC``; the two prices are a `Technology`. All figures are for one image
and all time steps, memory traffic is in none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spikedriven.errors import InputError
from spikedriven.graph.counts import PRODUCT_OPS, WEIGHT_OPS, AttentionShape, Layer


@dataclass(frozen=True)
class Technology:
    """Price of one multiply-accumulate and one accumulate, in picojoule."""

    name: str
    mac_pj: float
    ac_pj: float
    source: str


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, 0.9 V)"
TECHNOLOGIES = {
    "fp32": Technology("fp32", 4.6, 0.9, _HOROWITZ),
    "int8": Technology("int8", 0.23, 0.03, _HOROWITZ),
}


@dataclass(frozen=True)
class Cost:
    """What one layer costs. counted: whether the convention's energy includes it. formula: the numbers behind it."""

    macs: float = 0.0
    acs: float = 0.0
    counted: bool = True
    formula: str = ""


LEFT_OUT = Cost(counted=False)


@dataclass(frozen=True)
class Convention:
    """A named rule. formula: in words and symbols; source: where it is defined; cost: layer -> `Cost`."""

    name: str
    formula: str
    source: str
    cost: Callable[[Layer], Cost]


def _macs(ops: float) -> Cost:
    return Cost(macs=ops, formula=f"E_MAC x {ops:.6g} operations")


def _acs(ops: float, rate: float, what: str = "rate") -> Cost:
    return Cost(acs=ops * rate, formula=f"E_AC x {rate:.6g} {what} x {ops:.6g} operations")


def _sdt(layer: Layer) -> Cost:
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    if not layer.spiking:
        return _macs(layer.ops)
    # k * v and q * a cost the rate of k and of q: what stands first in the product.
    first = layer.reads[0] if layer.op == "multiply" and layer.reads[0].spiking else None
    return _acs(layer.ops, first.rate if first else layer.rate)


def _sfa(layer: Layer) -> Cost:
    if layer.op not in (*WEIGHT_OPS, *PRODUCT_OPS):
        return LEFT_OUT
    if not layer.spiking:
        return _macs(layer.ops)
    nsfr = layer.rate / layer.levels
    cost = layer.ops * layer.rate
    return Cost(acs=cost, formula=f"E_AC x D {layer.levels} x NSFR {nsfr:.6g} x {layer.ops:.6g} operations")


#: (width, heads) -> heads in the counter's own table, where it differs: it says 12 for the 768-wide model with 8.
COUNTER_HEADS = {(768, 8): 12}


def _spikingformer(layer: Layer) -> Cost:
    if layer.op in WEIGHT_OPS:
        ops = layer.ops + layer.bias_ops
        return _acs(ops, layer.rate) if layer.spiking else _macs(ops)
    if layer.attention is not None:
        return _counter_attention(layer.attention)
    return _counter_module(layer)


def _counter_attention(shape: AttentionShape) -> Cost:
    heads = COUNTER_HEADS.get((shape.heads * shape.dim, shape.heads), shape.heads)
    per_head = (shape.heads * shape.dim / heads) * (shape.heads * shape.value_dim / heads)
    ops, rate = shape.steps * heads * shape.tokens * per_head, min(shape.k.rate, shape.v.rate) + shape.q.rate
    cost = _acs(ops, rate, "min(r_k, r_v) + r_q")
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


def _all_ops(layer: Layer) -> Cost:
    if layer.op in WEIGHT_OPS:
        cost = _acs(layer.ops, layer.rate) if layer.spiking else _macs(layer.ops)
        return Cost(cost.macs, cost.acs + layer.bias_ops, True, f"{cost.formula} + {layer.bias_ops:.6g} bias")
    if layer.op in PRODUCT_OPS:
        return _acs(layer.ops, layer.rate) if layer.spiking else _macs(layer.ops)
    return _ELEMENTWISE[layer.op](layer)


def _lif_or_integer(layer: Layer) -> Cost:
    return Cost(macs=layer.elements, acs=2 * layer.elements, formula="1 MAC (leak) + 2 AC (compare, reset) per element")


def _averaged(layer: Layer) -> Cost:
    return Cost(layer.elements, layer.inputs * layer.rate, formula="1 AC per value read, 1 MAC per mean")


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
    "sum": lambda layer: _acs(layer.inputs, layer.rate),
    "mean": _averaged,
    "avgpool": _averaged,
    "interpolate": lambda layer: Cost(macs=4 * layer.elements, formula="4 MACs per element (bilinear)"),
    "maxpool": lambda layer: _acs(layer.elements, max(layer.window - 1, 1), "comparisons"),
}

CONVENTIONS: dict[str, Convention] = {
    "sdt": Convention(
        "sdt",
        "E = E_MAC x FL over layers that read real values + E_AC x R x FL over layers that read spikes, R the rate of "
        "the layer's input, FL its operations over all T steps; mask attention E_AC x (r_k + r_q) x T N D; BN folded",
        "Spike-driven Transformer, NeurIPS 2023, appendix on theoretical energy",
        _sdt,
    ),
    "spikingformer": Convention(
        "spikingformer",
        "E = E_MAC x MACs + E_AC x ACs over conv and linear layers, biases included, plus "
        "T h N d^2 (min(r_k, r_v) + r_q) ACs per attention block with h from the counter's own table",
        "the counter released with Spikingformer (arXiv 2304.11954), measured behaviour",
        _spikingformer,
    ),
    "sfa": Convention(
        "sfa",
        "E = E_MAC x FL over layers that read real values + E_AC x T x D x NSFR x FL over all others; NSFR = mean "
        "integer / D, so an integer n costs n additions; attention products likewise; BN folded",
        "E-SpikeFormer (SDT-V3), TPAMI 2025, normalised spike firing rate",
        _sfa,
    ),
    "all-ops": Convention(
        "all-ops",
        "as sdt, and also: biases and residual sums 1 AC per element; BN and constant factors 1 MAC; neurons 1 MAC + "
        "2 AC per element and step; max pools k^2 - 1 comparisons per output; means and sums 1 AC per value read; "
        "bilinear interpolation 4 MACs per output",
        "this package: everything the other conventions leave out, nothing folded",
        _all_ops,
    ),
}


def find_convention(name: str) -> Convention:
    """The named convention; InputError with the known names otherwise."""
    if name not in CONVENTIONS:
        raise InputError(f"energy convention {name!r} is not known; choose one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def find_technology(name: str) -> Technology:
    """The named technology; InputError with the known names otherwise."""
    if name not in TECHNOLOGIES:
        raise InputError(f"technology {name!r} is not known; choose one of {', '.join(TECHNOLOGIES)}")
    return TECHNOLOGIES[name]
