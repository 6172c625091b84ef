"""Does spiking pay? The same shapes as a dense network, and as a quantised one."""

from collections.abc import Sequence
from dataclasses import dataclass

from spikedriven.graph.conventions import TECHNOLOGIES
from spikedriven.graph.counts import PRODUCT_OPS, WEIGHT_OPS, Layer

#: Below this mean rate a spiking network needs less energy than an equally precise quantised ANN, once memory traffic
#: counts: 6.4 % for T in 5..10 and 5.7 % at T = 5 (Yan et al., arXiv 2409.08290, versions 2 and 4); an independent
#: estimate found 5.99 % (github.com/kmheckel/spyx, pull request 76).
BREAK_EVEN = (0.057, 0.064)


@dataclass(frozen=True)
class Comparison:
    """Millijoule per image for the same shapes.

    ann: dense multiply-accumulates, one pass, fp32. quantised_ann: the same in int8. spiking, spiking_int8: this
    network's counts at the same two prices. mean_rate: spikes per input element and binary step, averaged over the
    layers that read spikes, weighted by their operations. steps: T x D.
    """

    dense_macs: float
    ann_mj: float
    quantised_ann_mj: float
    spiking_mj: float
    spiking_int8_mj: float
    mean_rate: float
    steps: int

    @property
    def pays(self) -> bool:
        """Less than the equal ANN, at the same fp32 prices."""
        return self.spiking_mj < self.ann_mj

    @property
    def pays_quantised(self) -> bool:
        """Below the published break-even with a quantised ANN."""
        return self.mean_rate < BREAK_EVEN[0]

    def __str__(self) -> str:
        low, high = BREAK_EVEN
        below = "below" if self.pays_quantised else "within" if self.mean_rate <= high else "above"
        paid = "spiking pays" if self.pays_quantised else "spiking does NOT pay"
        return (
            f"equal ANN, {self.dense_macs:.4g} dense MACs once, fp32: {self.ann_mj:.4g} mJ; this network: "
            f"{self.spiking_mj:.4g} mJ, {_times(self.spiking_mj, self.ann_mj)}: "
            f"{'spiking pays' if self.pays else 'spiking does NOT pay'}\n"
            f"quantised ANN, the same MACs in int8: {self.quantised_ann_mj:.4g} mJ; this network in int8: "
            f"{self.spiking_int8_mj:.4g} mJ, {_times(self.spiking_int8_mj, self.quantised_ann_mj)} (arithmetic only)\n"
            f"mean input rate {self.mean_rate:.1%} per binary step over T x D = {self.steps} steps: {below} the "
            f"break-even of {low:.1%} to {high:.1%} with a quantised ANN once memory traffic counts "
            f"(arXiv 2409.08290; spyx pull request 76): {paid} by that measure"
        )


def _times(spiking: float, ann: float) -> str:
    return f"{spiking / ann:.2f} times that" if ann else "nothing to compare with"


def compare(layers: Sequence[Layer], time_steps: int, macs: float, acs: float) -> Comparison:
    """macs, acs: what the convention counts for this network."""
    dense = sum(layer.ops for layer in layers if layer.op in (*WEIGHT_OPS, *PRODUCT_OPS)) / time_steps
    spiking = [layer for layer in layers if layer.op in WEIGHT_OPS and layer.spiking]
    read = sum(layer.ops for layer in spiking)
    fp32, int8 = TECHNOLOGIES["fp32"], TECHNOLOGIES["int8"]
    return Comparison(
        dense_macs=dense,
        ann_mj=dense * fp32.mac_pj * 1e-9,
        quantised_ann_mj=dense * int8.mac_pj * 1e-9,
        spiking_mj=(macs * fp32.mac_pj + acs * fp32.ac_pj) * 1e-9,
        spiking_int8_mj=(macs * int8.mac_pj + acs * int8.ac_pj) * 1e-9,
        mean_rate=sum(layer.ops * layer.rate / layer.levels for layer in spiking) / read if read else 0.0,
        steps=time_steps * max((layer.levels for layer in spiking), default=1),
    )
