"""Our values that take no weights and no images: parameters, operations, energies from logged
rates, audits."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.graph.audit import audit
from spikedriven.graph.counts import count_layers, operands_to_measure
from spikedriven.graph.energy import EnergyReport, cost
from spikedriven.graph.fuse import fuse
from spikedriven.graph.given_rates import read_rates
from spikedriven.graph.kinds import span
from spikedriven.graph.measurement import Measurement, measurement_of, time_steps
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.pricing import TECHNOLOGIES
from spikedriven.graph.trace import trace
from spikedriven.layers.attention import mask_and_add_attention
from spikedriven.models import create_model
from spikedriven.models.logged_rates import logged_rates
from spikedriven.neurons import LIF


def parameters(name: str, **keywords: Any) -> Callable[[], str]:
    """ "16.82 M": of the network, its unused ones included unless the keywords leave them out."""
    return lambda: f"{_count(name, **keywords) / 1e6:.2f} M"


def parameters_used_and_held(name: str) -> str:
    """Without and with what a release holds and never calls."""
    used, held = _count(name, released_params=False), _count(name)
    return f"{used / 1e6:.3f} M used, {held / 1e6:.3f} M in the file"


def _count(name: str, **keywords: Any) -> int:
    return sum(p.numel() for p in _blank(name, **keywords).parameters())


def _blank(name: str, **keywords: Any) -> Any:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return create_model(name, **keywords).eval()


@cache
def _logged(name: str) -> Measurement:
    model = _blank(name)
    return measurement_of(model, model.example_input(), read_rates(logged_rates(name)))


def from_logged_rates(name: str, convention: str = "spikingformer") -> EnergyReport:
    """Energy at the rates that the authors logged."""
    return cost(_logged(name), convention)


@cache
def pass_operations(name: str) -> str:
    """Multiply-accumulates of one time step."""
    model = _blank(name)
    layers = count_layers(trace(model, model.example_input()), {})
    multiplying = (
        layer for layer in layers if layer.op in ("conv", "linear", "matmul", "multiply")
    )
    return (
        f"{sum(layer.dense_ops for layer in multiplying) / 1e9:.2f} G multiply-accumulates a pass"
    )


@cache
def energy_of_operations(name: str, giga: float) -> str:
    """E_AC for ``giga`` synaptic operations, E_MAC for the first convolution at each step."""
    model = _blank(name, depth=1)
    layers = count_layers(trace(model, model.example_input()), {})
    first = next(layer for layer in layers if layer.op == "conv")
    prices, encoded = TECHNOLOGIES["fp32"], first.dense_ops * model.time_steps / 1e9
    total = prices.ac_pj * giga + prices.mac_pj * encoded
    return f"{total:.2f} mJ at these operations, with its first convolution's {encoded:.3f} G"


def at_one_rate(graph: SpikeGraph, rate: float) -> Measurement:
    """Every spike tensor has ``rate`` ones, every count tensor ``rate`` times its largest value."""
    rates = {}
    for node in operands_to_measure(graph):
        found = span(graph[node].kind)
        most = max(found.high, -found.low) if found is not None else 1
        rates[node] = rate * (most if graph[node].op != "matmul" else 1)
    rows = tuple(count_layers(graph, rates))
    return Measurement(rows, 0, time_steps(graph), "folded", "one rate")


@cache
def less_energy(name: str, than: str, rate: float = 0.15) -> str:
    """Of two networks whose neurons all fire at one rate, in the convention of Spikingformer."""
    costs = []
    for network in (name, than):
        model = _blank(network)
        graph = trace(fuse(model, check=False), model.example_input())
        costs.append(cost(at_one_rate(graph, rate), "spikingformer").total_mj)
    saved = f"{100 * (1 - costs[0] / costs[1]):.2f} % less"
    return f"{saved}: {costs[0]:.2f} against {costs[1]:.2f} mJ at {100 * rate:.0f} %"


@cache
def addition_only(name: str) -> str:
    """The audit's verdict, in a few words."""
    model = _blank(name)
    report = audit(model, model.example_input())
    released = "addition-only" if report.ok_as_released else "not addition-only"
    folded = "addition-only" if report.ok else "not addition-only"
    return f"{released} as released, {folded} after folding"


class _Attention(nn.Module):
    """Mask-and-add attention alone, on spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.neuron = LIF(), LIF(), LIF(), LIF(v_threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0)
        return mask_and_add_attention(self.q(x), self.k(x), self.v(x), self.neuron)


def attention_operations(channels: int, tokens: int) -> float:
    """Masks and additions of mask-and-add attention for one step, counted on its graph."""
    graph = trace(_Attention().eval(), torch.zeros(1, channels, tokens, 1))
    layers = count_layers(graph, {})
    masks = sum(layer.ops for layer in layers if layer.op == "multiply")
    return masks + sum(layer.inputs for layer in layers if layer.op == "sum")


class _Softmax(nn.Module):
    """Softmax attention of the same shape, on one head: how heads share the channels changes
    nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(-1, -2)
        return torch.softmax(tokens @ tokens.transpose(-1, -2), dim=-1) @ tokens


def softmax_operations(channels: int, tokens: int) -> float:
    """Multiply-accumulates of its two products, counted on its graph."""
    graph = trace(_Softmax().eval(), torch.zeros(1, channels, tokens, 1))
    return sum(layer.ops for layer in count_layers(graph, {}) if layer.op == "matmul")


def growth(channels: int, tokens: int) -> Callable[[], str]:
    """How much more the attention costs with so many times the channels and tokens."""

    def ours() -> str:
        times = attention_operations(64 * channels, 196 * tokens) / attention_operations(64, 196)
        return f"{times:.2f} times the operations"

    return ours


def attention_saving(tokens: int, steps: int) -> str:
    """Energy of the two products of softmax attention over that of mask-and-add, should every q and
    k fire."""
    prices = TECHNOLOGIES["fp32"]
    softmax = (
        prices.mac_pj * 2 * tokens
    )  # per token and channel: q k^T and its product with v, once
    masked = prices.ac_pj * steps * (1.0 + 1.0)  # E_AC x T x (r_k + r_q), both rates 1
    return (
        f"at least {softmax / masked:.0f} times ({tokens} tokens, T {steps}, every neuron firing)"
    )
