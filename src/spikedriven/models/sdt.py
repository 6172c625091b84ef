"""Spike-driven Transformer (Yao et al., NeurIPS 2023, arXiv 2307.01694).

LIF neurons, a convolutional stem, and blocks whose attention needs masks and additions only.
Residuals are real-valued; every weight layer but the first reads spikes. Where paper and release
differ, defaults follow the release:

* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the last stem pool works on membranes, not on spikes;
* attention ignores heads, except with ``pooled_attention`` (the release's CIFAR10-DVS mode);
* parameters that exist but are never used are kept, frozen, unless ``released_params=False``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.layers import (
    ConvBN,
    DropPath,
    FireProject,
    ProjectFire,
    SpikeMLP,
    UnusedParameters,
    check_divides,
    drop_path_rates,
    mask_and_add_attention,
    pooled_mask_and_add_attention,
    stage_pools,
    stage_strides,
)
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel, check_width, classifier, feature_maps
from spikedriven.models.official import OfficialNames
from spikedriven.models.registry import Variant, register_family
from spikedriven.neurons import NeuronChoice, NeuronFactory, neuron_factory


class StemMembrane(nn.Module):
    """Last stem stage: conv and BN, pooled before any neuron. [T, B, in, H, W] -> [T, B, out,
    H', W'].
    """

    def __init__(self, in_chans: int, out_chans: int, pool: nn.Module) -> None:
        super().__init__()
        self.project, self.pool = ConvBN(in_chans, out_chans, 3), pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.project(x))


class PositionConv(FireProject):
    """Relative position by a residual 3x3 convolution on the spikes. [T, B, C, H, W]."""

    def __init__(self, dim: int, neuron: NeuronFactory, unused: UnusedParameters) -> None:
        super().__init__(neuron(), ConvBN(dim, dim, 3))
        self.unused = unused

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class SpikeDrivenAttention(nn.Module):
    """Paper section 3.2 (SDSA). Real-valued [T, B, C, H, W] in and out; spikes in between."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        neuron: NeuronFactory,
        pooled: bool,
        unused: UnusedParameters,
    ) -> None:
        super().__init__()
        check_divides(num_heads, dim)
        self.num_heads, self.pooled = num_heads, pooled
        self.neuron = neuron()
        self.q = ProjectFire(ConvBN(dim, dim), neuron())
        self.k = ProjectFire(ConvBN(dim, dim), neuron())
        self.v = ProjectFire(ConvBN(dim, dim), neuron())
        self.sum_neuron = neuron(v_threshold=0.5)
        self.out = ConvBN(dim, dim, bias=True)
        self.unused = unused

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        if self.pooled:
            return self.out(pooled_mask_and_add_attention(q, k, v, self.sum_neuron, self.num_heads))
        return self.out(mask_and_add_attention(q, k, v, self.sum_neuron))


class Block(nn.Module):
    """Attention and MLP, each on its own real-valued residual. [T, B, C, H, W]."""

    def __init__(self, attn: nn.Module, mlp: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.attn, self.mlp, self.drop_path = attn, mlp, DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(x))
        return x + self.drop_path(self.mlp(x))


#: Ours -> the release's names; applied in order (see `official`).
OFFICIAL_NAMES = [
    (r"^stem\.0\.project\.(conv|bn)", r"patch_embed.proj_\1"),
    (r"^stem\.0\.neuron", r"patch_embed.proj_lif"),
    (r"^stem\.(\d)\.project\.(conv|bn)", r"patch_embed.proj_\2\1"),
    (r"^stem\.(\d)\.neuron", r"patch_embed.proj_lif\1"),
    (r"^position\.neuron", r"patch_embed.proj_lif3"),
    (r"^position\.project\.(conv|bn)", r"patch_embed.rpe_\1"),
    (r"^position\.unused\.rpe_lif_w", r"patch_embed.rpe_lif.w"),
    (r"^head_neuron", r"head_lif"),
    (r"^blocks\.", r"block."),
    (r"attn\.neuron", r"attn.shortcut_lif"),
    (r"attn\.([qkv])\.project\.(conv|bn)", r"attn.\1_\2"),
    (r"attn\.([qkv])\.neuron", r"attn.\1_lif"),
    (r"attn\.sum_neuron", r"attn.talking_heads_lif"),
    (r"attn\.out\.(conv|bn)", r"attn.proj_\1"),
    (r"attn\.unused\.talking_heads", r"attn.talking_heads.weight"),
    (r"attn\.unused\.attn_lif_w", r"attn.attn_lif.w"),
    (r"mlp\.(fc[12])\.project\.(conv|bn)", r"mlp.\1_\2"),
    (r"mlp\.(fc[12])\.neuron", r"mlp.\1_lif"),
]


class SDT(SpikeDrivenModel):
    """Spike-driven Transformer; see the module's docstring, and `SpikeDrivenModel` for inputs and
    outputs.

    stem_pools: four characters, "1" where a stem stage halves the resolution ("1111": stride 16).
    pooled_attention: the release's CIFAR10-DVS attention. released_params: hold the release's
    unused parameters. mlp_ratio 1 adds a second residual inside the MLP, as the release does.
    """

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
        pooled_attention: bool = False,
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
        unused = _unused_parameters(make, num_heads) if released_params else {}
        self.stem = _stem(in_chans, embed_dim, stem_pools, make)
        self.position = PositionConv(
            embed_dim, make, UnusedParameters(**unused.get("position", {}))
        )
        self.blocks = nn.ModuleList(
            Block(
                SpikeDrivenAttention(
                    embed_dim,
                    num_heads,
                    make,
                    pooled_attention,
                    UnusedParameters(**unused.get("attn", {})),
                ),
                SpikeMLP(
                    embed_dim, int(embed_dim * mlp_ratio), make, inner_residual=mlp_ratio == 1
                ),
                rate,
            )
            for rate in drop_path_rates(drop_path_rate, depth)
        )
        self.head_neuron = make()
        self.head = classifier(embed_dim, num_classes)
        names = ["stem.0", "stem.1", "stem.2", f"blocks.{depth - 1}"]
        widths = [embed_dim // 8, embed_dim // 4, embed_dim // 2, embed_dim]
        self.feature_info = feature_maps(names, widths, stage_strides(stem_pools))
        self.apply(_init_weights)

    def official_names(self) -> OfficialNames:
        return OfficialNames(OFFICIAL_NAMES)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class. Heads show in the unused talking-heads convolution alone."""
        first, talking = "patch_embed.proj_conv.weight", "block.0.attn.talking_heads.weight"
        if first not in tensors:
            return {}
        return told.of_one_width(tensors, own, first, "block.0.mlp.fc1_conv.weight") | told.known(
            num_heads=told.width(tensors, talking),
            released_params=talking in tensors,
        )

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """As the base class; heads matter in the attention for CIFAR10-DVS only."""
        return ("time_steps", "num_heads") if own["pooled_attention"] else ("time_steps",)

    def body(self) -> list[tuple[str, nn.Module]]:
        stem = [(f"stem.{i}", stage) for i, stage in enumerate(self.stem)]
        return [
            *stem,
            ("position", self.position),
            *((f"blocks.{i}", b) for i, b in enumerate(self.blocks)),
        ]

    def head_forward(self, pooled: Tensor, pre_logits: bool = False) -> Tensor:
        spikes = self.head_neuron(pooled)
        return spikes if pre_logits else self.head(self.dropped(spikes))


def _stem(in_chans: int, dim: int, pools: str, neuron: NeuronFactory) -> nn.ModuleList:
    widths = [in_chans, dim // 8, dim // 4, dim // 2, dim]
    pool = stage_pools(pools)
    stages = [ProjectFire(ConvBN(widths[i], widths[i + 1], 3), neuron(), pool[i]) for i in range(3)]
    return nn.ModuleList([*stages, StemMembrane(widths[3], widths[4], pool[3])])


def _unused_parameters(neuron: NeuronFactory, num_heads: int) -> dict[str, dict[str, Tensor]]:
    """The release's talking-heads convolution, and the time constants of its two neurons that
    never run.
    """
    constants = {name: value.detach() for name, value in neuron().named_parameters()}
    return {
        "position": {f"rpe_lif_{name}": value.clone() for name, value in constants.items()},
        "attn": {"talking_heads": torch.zeros(num_heads, num_heads, 1)}
        | {f"attn_lif_{name}": value.clone() for name, value in constants.items()},
    }


def _init_weights(module: nn.Module) -> None:
    """The release's: convolutions truncated normal of 0.02, biases 0; the classifier keeps
    PyTorch's default.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


_IMAGENET: dict[str, Any] = {
    "source": "https://github.com/BICLab/Spike-Driven-Transformer README",
    "crop_pct": 0.95,
}
_CIFAR: dict[str, Any] = {
    "num_classes": 10, "input_size": (3, 32, 32), "crop_pct": 1.0, "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616), "source": "conf/cifar10 of the release",
}  # fmt: skip
_EVENTS: dict[str, Any] = {
    "crop_pct": 1.0,
    "mean": (0.0, 0.0),
    "std": (1.0, 1.0),
    "source": "conf of the release",
}

register_family(
    SDT,
    {
        "sdt_8_384": Variant(
            {"embed_dim": 384, "depth": 8}, published="ImageNet 72.28 %, 3.90 mJ", **_IMAGENET
        ),
        "sdt_6_512": Variant(
            {"embed_dim": 512, "depth": 6}, published="ImageNet 74.11 %, 3.56 mJ", **_IMAGENET
        ),
        "sdt_8_512": Variant(
            {"embed_dim": 512, "depth": 8}, published="ImageNet 74.57 %, 4.50 mJ", **_IMAGENET
        ),
        "sdt_10_512": Variant(
            {"embed_dim": 512, "depth": 10}, published="ImageNet 74.66 %, 5.53 mJ", **_IMAGENET
        ),
        "sdt_8_768": Variant(
            {"embed_dim": 768, "depth": 8}, published="ImageNet 77.07 %, 6.09 mJ", **_IMAGENET
        ),
        "sdt_2_256_cifar": Variant({"embed_dim": 256, "depth": 2, "stem_pools": "0011"}, **_CIFAR),
        "sdt_2_512_cifar": Variant({"embed_dim": 512, "depth": 2, "stem_pools": "0011"}, **_CIFAR),
        "sdt_2_256_gesture": Variant(
            {
                "embed_dim": 256,
                "depth": 2,
                "stem_pools": "0111",
                "time_steps": 16,
                "input_layout": "events",
            },
            num_classes=11,
            input_size=(2, 128, 128),
            **_EVENTS,
        ),
        "sdt_2_256_cifar10dvs": Variant(
            {
                "embed_dim": 256,
                "depth": 2,
                "stem_pools": "0011",
                "time_steps": 10,
                "input_layout": "events",
                "pooled_attention": True,
                "output": "per_step",
            },
            num_classes=10,
            input_size=(2, 64, 64),
            **_EVENTS,
        ),
    },
    first_conv="stem.0.project.conv",
    paper="Spike-driven Transformer",
)
