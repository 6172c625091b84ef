"""From a network to a plan: its traced graph, node by node.

`walk` goes through the graph with one emitter per operator (`emit_*`); `layout` and `values` keep
track of where tensors lie in maps; `draft` collects operations, `peephole` joins what belongs
together, `finish` makes the plan. No class of any module is asked. The network is folded first
(`graph.fuse`), except that a depthwise convolution stays apart from the 1x1 convolution behind it:
folding the two is exact, but costs kernel-size times the additions.
"""

from spikedriven.engine.lower import (  # noqa: F401  # each registers its emitters
    emit_arithmetic,
    emit_attention,
    emit_choice,
    emit_join,
    emit_layers,
    emit_layout,
    emit_neurons,
    emit_parts,
    emit_quantized,
)
from spikedriven.engine.lower.attempt import Lowered, lower

__all__ = ["Lowered", "lower"]
