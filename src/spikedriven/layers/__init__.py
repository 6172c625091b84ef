"""Layers that several families share."""

from spikedriven.layers.attention import (
    check_divides,
    linear_attention,
    mask_and_add_attention,
    pooled_mask_and_add_attention,
)
from spikedriven.layers.drop import DropPath, drop_path_rates
from spikedriven.layers.mlp import SpikeMLP
from spikedriven.layers.repconv import BatchNormPad2d, RepConvBN, RepPointwise
from spikedriven.layers.residual import Residual, block
from spikedriven.layers.self_attention import SpikingSelfAttention
from spikedriven.layers.sepconv import SeparableConvBN, SepConv, SpikeSepConv
from spikedriven.layers.sparse import (
    SparseConvBN,
    SparseFireProject,
    SparseMLP,
    SparseResidual,
    call_sparse,
    on_map,
)
from spikedriven.layers.units import (
    ConvBN,
    FireProject,
    MaxPool,
    ProjectFire,
    halving_pool,
    over_time,
)
from spikedriven.layers.unused import UnusedParameters

__all__ = [
    "BatchNormPad2d",
    "ConvBN",
    "DropPath",
    "FireProject",
    "MaxPool",
    "ProjectFire",
    "RepConvBN",
    "RepPointwise",
    "Residual",
    "SepConv",
    "SeparableConvBN",
    "SparseConvBN",
    "SparseFireProject",
    "SparseMLP",
    "SparseResidual",
    "SpikeMLP",
    "SpikeSepConv",
    "SpikingSelfAttention",
    "UnusedParameters",
    "block",
    "call_sparse",
    "check_divides",
    "drop_path_rates",
    "halving_pool",
    "linear_attention",
    "mask_and_add_attention",
    "on_map",
    "over_time",
    "pooled_mask_and_add_attention",
]
