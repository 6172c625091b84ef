"""Spikingformer (Zhou et al., arXiv 2304.11954): spike-driven residual learning.

Every weight layer of the body reads spikes: each unit fires first and projects second, and
residuals stay real-valued. Where paper and release differ, defaults follow the release:

* the classifier reads the real-valued mean over positions (no neuron in front of it);
* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the attention scale is 0.125 for every head width;
* two layer norms per block are never called; their parameters are kept, frozen, unless
  ``released_params=False``.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.layers import (
    ConvBN,
    DropPath,
    FireProject,
    SpikeMLP,
    SpikingSelfAttention,
    UnusedParameters,
    drop_path_rates,
    stage_pools,
    stage_strides,
)
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel, check_width, classifier, feature_maps
from spikedriven.models.official import OfficialNames
from spikedriven.models.registry import Variant, register_family
from spikedriven.neurons import NeuronChoice, NeuronFactory, neuron_factory

ATTENTION_SCALE = 0.125


class Block(nn.Module):
    """Attention and MLP, each on its own real-valued residual. [T, B, C, H, W]."""

    def __init__(
        self, attn: nn.Module, mlp: nn.Module, drop_path: float, unused: UnusedParameters
    ) -> None:
        super().__init__()
        self.attn, self.mlp, self.drop_path, self.unused = attn, mlp, DropPath(drop_path), unused

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))


#: Ours -> the release's names (ImageNet and event files); applied in order (see `official`).
OFFICIAL_NAMES = [
    (r"^stem\.0\.(conv|bn)", r"patch_embed.proj_\1"),
    (r"^stem\.(\d)\.project\.(conv|bn)", r"patch_embed.proj\1_\2"),
    (r"^stem\.(\d)\.neuron", r"patch_embed.proj\1_lif"),
    (r"^blocks\.", r"block."),
    (r"unused\.norm(\d)_", r"norm\1."),
    (r"attn\.neuron", r"attn.proj_lif"),
    (r"attn\.([qkv])\.project\.(conv|bn)", r"attn.\1_\2"),
    (r"attn\.([qkv])\.neuron", r"attn.\1_lif"),
    (r"attn\.out\.project\.(conv|bn)", r"attn.proj_\1"),
    (r"attn\.out\.neuron", r"attn.attn_lif"),
    (r"mlp\.fc([12])\.project\.(conv|bn)", r"mlp.mlp\1_\2"),
    (r"mlp\.fc([12])\.neuron", r"mlp.mlp\1_lif"),
]
#: The CIFAR files of the release spell the tokenizer differently.
CIFAR_NAMES = [
    (r"^stem\.0\.(conv|bn)", r"patch_embed.block0_\1"),
    (r"^stem\.(\d)\.project\.(conv|bn)", r"patch_embed.block\1_\2"),
    (r"^stem\.(\d)\.neuron", r"patch_embed.block\1_lif"),
]
#: Names in checkpoints older than the release (those behind its logged 8-512 run) -> the release's.
OLDER_NAMES = [
    (r"^patch_embed\.proj_(conv|bn)([123])\b", r"patch_embed.proj\2_\1"),
    (r"^patch_embed\.rpe_", r"patch_embed.proj4_"),
    (r"mlp\.fc([12])_", r"mlp.mlp\1_"),
]
#: The first weights, as the release's files call them.
FIRST_CONVOLUTIONS = ("patch_embed.proj_conv.weight", "patch_embed.block0_conv.weight")
#: Their 1x1 convolutions over tokens are Conv1d; ours run over the map.
CONV1D = r"attn\.(q|k|v|proj)_conv\.weight$"


class Spikingformer(SpikeDrivenModel):
    """Spikingformer; see the module's docstring, and `SpikeDrivenModel` for inputs and outputs.

    stem_pools: four characters, "1" where a tokenizer unit after the first halves the resolution
    ("1111": stride 16). released_params: hold the release's unused layer norms.
    """

    mean_before_head = True

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        time_steps: int = 4,
        embed_dim: int = 512,
        depth: int = 8,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        stem_pools: str = "1111",
        neuron: NeuronChoice = "lif",
        tau: float = 2.0,
        output: str = "mean",
        drop_path_rate: float = 0.0,
        released_params: bool = True,
        input_layout: str = "image",
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__(
            num_classes,
            in_chans,
            img_size,
            time_steps,
            output,
            input_layout,
            drop_rate,
            global_pool,
        )
        check_width(embed_dim, depth)
        make = neuron_factory(neuron, tau=tau)
        self.stem_pools = stem_pools
        self.stem = _tokenizer(in_chans, embed_dim, stem_pools, make)
        self.blocks = nn.ModuleList(
            Block(
                _attention(embed_dim, num_heads, make),
                SpikeMLP(embed_dim, int(embed_dim * mlp_ratio), make),
                rate,
                UnusedParameters(**(_layer_norms(embed_dim) if released_params else {})),
            )
            for rate in drop_path_rates(drop_path_rate, depth)
        )
        self.head = classifier(embed_dim, num_classes)
        names = ["stem.1", "stem.2", "stem.3", f"blocks.{depth - 1}"]
        widths = [embed_dim // 4, embed_dim // 2, embed_dim, embed_dim]
        self.feature_info = feature_maps(names, widths, stage_strides(stem_pools))
        self.apply(_init_weights)

    def official_names(self) -> OfficialNames:
        names = CIFAR_NAMES + OFFICIAL_NAMES if self.stem_pools == "0011" else OFFICIAL_NAMES
        return OfficialNames(names, OLDER_NAMES, CONV1D)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class. Heads show nowhere."""
        first = next((key for key in FIRST_CONVOLUTIONS if key in tensors), None)
        if first is None:
            return {}
        hidden = "block.0.mlp.mlp1_conv.weight"
        held = {"released_params": "block.0.norm1.weight" in tensors}
        return told.of_one_width(tensors, own, first, hidden) | held

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """As the base class, and heads: the release has 8 or 12 of them at the same width."""
        return ("time_steps", "num_heads")

    def body(self) -> list[tuple[str, nn.Module]]:
        stem = [(f"stem.{i}", unit) for i, unit in enumerate(self.stem)]
        return [*stem, *((f"blocks.{i}", block) for i, block in enumerate(self.blocks))]


def _tokenizer(in_chans: int, dim: int, pools: str, neuron: NeuronFactory) -> nn.ModuleList:
    widths = [dim // 8, dim // 4, dim // 2, dim, dim]
    pool = stage_pools(pools)
    units = [FireProject(neuron(), ConvBN(widths[i], widths[i + 1], 3), pool[i]) for i in range(4)]
    return nn.ModuleList([ConvBN(in_chans, widths[0], 3), *units])


def _attention(dim: int, num_heads: int, neuron: NeuronFactory) -> nn.Module:
    project_out = partial(ConvBN, bias=True)
    return SpikingSelfAttention(
        dim,
        num_heads,
        neuron,
        neuron(v_threshold=0.5),
        ATTENTION_SCALE,
        project=ConvBN,
        project_out=project_out,
    )


def _layer_norms(dim: int) -> dict[str, Tensor]:
    return {
        f"norm{i}_{name}": fill(dim)
        for i in (1, 2)
        for name, fill in (("weight", torch.ones), ("bias", torch.zeros))
    }


def _init_weights(module: nn.Module) -> None:
    """The release's: the classifier truncated normal of 0.02, bias 0; convolutions keep
    PyTorch's default.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


_IMAGENET: dict[str, Any] = {
    "source": "https://github.com/zhouchenlin2096/Spikingformer README",
    "crop_pct": 1.0,
}
_CIFAR: dict[str, Any] = {
    "num_classes": 10, "input_size": (3, 32, 32), "crop_pct": 1.0, "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616), "source": "README of the release",
}  # fmt: skip

register_family(
    Spikingformer,
    {
        "spikingformer_8_384": Variant(
            {"embed_dim": 384}, published="ImageNet 72.45 %, 4.69 mJ", **_IMAGENET
        ),
        "spikingformer_8_512": Variant(
            {"embed_dim": 512}, published="ImageNet 74.79 %, 7.46 mJ", **_IMAGENET
        ),
        "spikingformer_8_768": Variant(
            {"embed_dim": 768}, published="ImageNet 75.85 %, 13.68 mJ", **_IMAGENET
        ),
        "spikingformer_4_256_cifar": Variant(
            {"embed_dim": 256, "depth": 4, "stem_pools": "0011"},
            published="CIFAR-10 94.77 %, CIFAR-100 77.43 %",
            **_CIFAR,
        ),
        "spikingformer_2_384_cifar": Variant(
            {"embed_dim": 384, "depth": 2, "num_heads": 12, "stem_pools": "0011"},
            published="CIFAR-10 95.22 %, CIFAR-100 78.34 %",
            **_CIFAR,
        ),
        "spikingformer_4_384_cifar": Variant(
            {"embed_dim": 384, "depth": 4, "num_heads": 12, "stem_pools": "0011"},
            published="CIFAR-10 95.81 %, CIFAR-100 79.21 % (400 epochs)",
            **_CIFAR,
        ),
        "spikingformer_2_256_dvs": Variant(
            {
                "embed_dim": 256,
                "depth": 2,
                "num_heads": 16,
                "time_steps": 16,
                "tau": 1.5,
                "input_layout": "events",
            },
            num_classes=10,
            input_size=(2, 128, 128),
            crop_pct=1.0,
            mean=(0.0, 0.0),
            std=(1.0, 1.0),
            published="CIFAR10-DVS 81.3 %, DVS128 Gesture 98.3 % (T 16)",
            source="README of the release",
        ),
    },
    first_conv="stem.0.conv",
    paper="Spikingformer",
)
