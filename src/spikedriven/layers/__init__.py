"""Layers that several families share."""

from spikedriven.layers.attention import (
    check_divides,
    linear_attention,
    mask_and_add_attention,
    pooled_mask_and_add_attention,
    token_attention,
)
from spikedriven.layers.drop import DropPath, drop_path_rates
from spikedriven.layers.fired import FiredAttention, FiredMLP
from spikedriven.layers.means import OrderedMean, SpatialMean, TimeMean
from spikedriven.layers.mlp import SpikeMLP
from spikedriven.layers.quantized import ChannelAffine, QuantizedLayer, Reading, Window
from spikedriven.layers.repconv import BatchNormPad2d, RepConvBN, RepPointwise
from spikedriven.layers.residual import AttentionBlock, Residual, block
from spikedriven.layers.scale import ChannelScale, Scale
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
    stage_pools,
    stage_strides,
)
from spikedriven.layers.unused import UnusedParameters

__all__ = [
    "AttentionBlock",
    "BatchNormPad2d",
    "ChannelAffine",
    "ChannelScale",
    "ConvBN",
    "DropPath",
    "FireProject",
    "FiredAttention",
    "FiredMLP",
    "MaxPool",
    "OrderedMean",
    "ProjectFire",
    "QuantizedLayer",
    "Reading",
    "RepConvBN",
    "RepPointwise",
    "Residual",
    "Scale",
    "SepConv",
    "SeparableConvBN",
    "SparseConvBN",
    "SparseFireProject",
    "SparseMLP",
    "SparseResidual",
    "SpatialMean",
    "SpikeMLP",
    "SpikeSepConv",
    "SpikingSelfAttention",
    "TimeMean",
    "UnusedParameters",
    "Window",
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
    "stage_pools",
    "stage_strides",
    "token_attention",
]
