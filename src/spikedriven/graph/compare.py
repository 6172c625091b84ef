"""Does spiking pay? The same shapes as a dense network in fp32, in int8, and with matched bits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spikedriven.graph.counts import WEIGHT_OPS, Layer

#: Below this mean rate a spiking network needs less energy than an equally precise quantised ANN,
#: once memory traffic counts: 6.4 % for T in 5..10 and 5.7 % at T = 5 (Yan et al., arXiv
#: 2409.08290, versions 2 and 4); an independent estimate found 5.99 % (github.com/kmheckel/spyx,
#: pull request 76).
BREAK_EVEN = (0.057, 0.064)


@dataclass(frozen=True)
class Partner:
    """An ANN of the same shape, one dense pass, beside this network at the same prices and with the
    same memory.

    name: "fp32", "int8", or its bits. ann_mj, spiking_mj: millijoule per image. break_even: the
    factor on all rates of this network at which both need the same; 0 where spiking cannot pay at
    any rate, infinite where it always does.
    """

    name: str
    ann_mj: float
    spiking_mj: float
    break_even: float

    @property
    def pays(self) -> bool:
        return self.spiking_mj < self.ann_mj

    def __str__(self) -> str:
        ann = f"ANN of the same shape, {self.name}: {self.ann_mj:.4g} mJ"
        ratio = (
            f"{self.spiking_mj / self.ann_mj:.2f} times that" if self.ann_mj else "no comparison"
        )
        return f"{ann}; this network: {self.spiking_mj:.4g} mJ, {ratio}"


@dataclass(frozen=True)
class Comparison:
    """This network beside ANNs of the same shape, under one convention.

    dense_macs: multiply-accumulates of one dense pass. mean_rate: spikes per input element and
    binary step, averaged over the weight layers that read spikes, weighted by their operations.
    steps: binary steps, T x D.
    """

    partners: tuple[Partner, ...]
    dense_macs: float
    mean_rate: float
    steps: int
    memory_counted: bool

    def partner(self, name: str) -> Partner:
        """By its name: "fp32" or "int8" exist under every convention."""
        return next(partner for partner in self.partners if partner.name == name)

    @property
    def ann_mj(self) -> float:
        return self.partner("fp32").ann_mj

    @property
    def quantised_ann_mj(self) -> float:
        return self.partner("int8").ann_mj

    @property
    def pays_quantised(self) -> bool:
        """Below the published break-even with a quantised ANN."""
        return self.mean_rate < BREAK_EVEN[0]

    def figures(self) -> str:
        """The figures without a verdict."""
        return "\n".join([*map(str, self.partners), self._rate()])

    def _rate(self) -> str:
        return (
            f"mean input rate {self.mean_rate:.1%} per binary step over T x D = {self.steps} steps"
        )

    def __str__(self) -> str:
        low, high = BREAK_EVEN
        below = "below" if self.pays_quantised else "within" if self.mean_rate <= high else "above"
        paid = "spiking pays" if self.pays_quantised else "spiking does NOT pay"
        counted = "with memory traffic" if self.memory_counted else "arithmetic only"
        return (
            "\n".join(
                f"{partner}: {self._verdict(partner)} ({counted})" for partner in self.partners
            )
            + f"\n{self._rate()}: {below} the published break-even of {low:.1%} to {high:.1%} with "
            "a quantised ANN "
            f"once memory traffic counts (arXiv 2409.08290; spyx pull request 76): {paid} by that "
            "measure"
        )

    def _verdict(self, partner: Partner) -> str:
        if partner.pays:
            return "spiking pays"
        if partner.break_even <= 0.0 or not math.isfinite(partner.break_even):
            return "spiking does NOT pay, at any rate"
        return (
            "spiking does NOT pay; it would below a mean rate of "
            f"{partner.break_even * self.mean_rate:.2%}"
        )


def break_even(ann: float, silent: float, spiking: float) -> float:
    """The factor on all rates at which ``silent + factor (spiking - silent)`` is what the ANN
    needs."""
    if spiking == silent:
        return math.inf if spiking < ann else 0.0
    return max((ann - silent) / (spiking - silent), 0.0)


def mean_rate(layers: Sequence[Layer]) -> float:
    """Ones per input element and binary step, weighted by the operations that read them; counts
    divided by D."""
    spiking = [layer for layer in layers if layer.op in WEIGHT_OPS and layer.spiking]
    read = sum(layer.ops for layer in spiking)
    return sum(layer.ops * layer.rate / layer.levels for layer in spiking) / read if read else 0.0
