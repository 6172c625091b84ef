"""Spikformer (Zhou et al., ICLR 2023, arXiv 2209.15425): the first spiking transformer with direct
training.

Every unit projects first and fires second, and residuals add spikes: behind the stem's sum a map
holds counts 0..2, and each block raises the largest by two. Weight layers of the blocks read such
counts. Where paper and release differ, defaults follow the release:

* the classifier reads the real-valued mean over positions and time;
* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the attention scale is a constant, 0.125 (0.25 for event cameras); the paper learns it for event
  cameras;
* two layer norms per block, and for event cameras a position embedding and a norm besides, are
  never used; they are kept, frozen, unless ``released_params=False``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.layers import (
    AttentionBlock,
    ConvBN,
    FiredAttention,
    FiredMLP,
    ProjectFire,
    UnusedParameters,
    drop_path_rates,
    stage_pools,
    stage_strides,
)
from spikedriven.layers.fired import ATTENTION_SCALE
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel, check_width, classifier, feature_maps
from spikedriven.models.official import OfficialNames, Rules
from spikedriven.models.registry import Variant, register_family
from spikedriven.neurons import NeuronChoice, NeuronFactory, neuron_factory


class PositionConv(ProjectFire):
    """Relative position by a residual 3x3 convolution that fires. Spikes [T, B, C, H, W] -> counts
    0..2."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


#: Ours -> the release's names that its three networks share; applied in order (see `official`).
OFFICIAL_NAMES: Rules = [
    (r"^stem\.0\.project\.(conv|bn)", r"patch_embed.proj_\1"),
    (r"^stem\.0\.neuron", r"patch_embed.proj_lif"),
    (r"^stem\.(\d)\.project\.(conv|bn)", r"patch_embed.proj_\2\1"),
    (r"^stem\.(\d)\.neuron", r"patch_embed.proj_lif\1"),
    (r"^position\.project\.(conv|bn)", r"patch_embed.rpe_\1"),
    (r"^position\.neuron", r"patch_embed.rpe_lif"),
    (r"^blocks\.", r"block."),
    (r"unused\.norm(\d)_", r"norm\1."),
    (r"^unused\.norm_", r"norm."),
    (r"^unused\.pos_embed", r"pos_embed"),
    (r"attn\.attention_neuron", r"attn.attn_lif"),
    (r"attn\.([qkv])\.neuron", r"attn.\1_lif"),
    (r"attn\.out\.neuron", r"attn.proj_lif"),
    (r"attn\.([qkv])\.project\.bn", r"attn.\1_bn"),
    (r"attn\.out\.project\.bn", r"attn.proj_bn"),
    (r"mlp\.(fc[12])\.project\.bn", r"mlp.\1_bn"),
    (r"mlp\.(fc[12])\.neuron", r"mlp.\1_lif"),
]
#: The first weights of an MLP, as the release's files call them.
FIRST_MLP = ("block.0.mlp.fc1_linear.weight", "block.0.mlp.fc1_conv.weight")
#: The weights of its blocks are called after what they are to tokens.
TOKEN_LAYERS = r"(?:attn\.(?:q|k|v|proj)|mlp\.fc[12])"


def _token_layers(kind: str) -> Rules:
    return [
        (r"attn\.([qkv])\.project\.conv", rf"attn.\1_{kind}"),
        (r"attn\.out\.project\.conv", rf"attn.proj_{kind}"),
        (r"mlp\.(fc[12])\.project\.conv", rf"mlp.\1_{kind}"),
    ]


@dataclass(frozen=True)
class Release:
    """One of the three networks that were released. All compute the same function, up to these
    constants.

    names: its state dict. qkv_bias: whether q, k and v have a bias. scale: of the attention.
    linear: whether its weights are those of linear layers, which start differently. embedding:
    whether it holds a position embedding and a last norm.
    """

    names: OfficialNames
    qkv_bias: bool = False
    scale: float = ATTENTION_SCALE
    linear: bool = False
    embedding: bool = False


_CONV, _LINEAR = OFFICIAL_NAMES + _token_layers("conv"), OFFICIAL_NAMES + _token_layers("linear")
RELEASES = {
    "imagenet": Release(OfficialNames(_CONV, conv1d=r"attn\.(q|k|v|proj)_conv\.weight$")),
    "cifar": Release(
        OfficialNames(_LINEAR, linear=TOKEN_LAYERS + r"_linear\.weight$"),
        qkv_bias=True,
        linear=True,
    ),
    "cifar10-dvs": Release(
        OfficialNames(_CONV, conv1d=TOKEN_LAYERS + r"_conv\.weight$"),
        scale=0.25,
        embedding=True,
    ),
}


class Spikformer(SpikeDrivenModel):
    """Spikformer; see the module's docstring, and `SpikeDrivenModel` for inputs and outputs.

    stem_pools: four characters, "1" where a stem stage halves the resolution ("1111": stride 16).
    release: "imagenet", "cifar" or "cifar10-dvs": whose key names, biases and attention scale the
    network has. released_params: hold the release's unused parameters.
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
        release: str = "imagenet",
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
        if release not in RELEASES:
            raise InputError(f"release must be one of {', '.join(RELEASES)}, found {release!r}")
        make, like = neuron_factory(neuron, tau=tau), RELEASES[release]
        self.release = like
        self.stem = _stem(in_chans, embed_dim, stem_pools, make)
        self.position = PositionConv(ConvBN(embed_dim, embed_dim, 3), make())
        self.blocks = nn.ModuleList(
            AttentionBlock(
                FiredAttention(embed_dim, num_heads, make, like.scale, like.qkv_bias),
                FiredMLP(embed_dim, int(embed_dim * mlp_ratio), make),
                rate,
                UnusedParameters(**(_layer_norms(embed_dim) if released_params else {})),
            )
            for rate in drop_path_rates(drop_path_rate, depth)
        )
        tokens = self._tokens(stem_pools)
        embedded = released_params and like.embedding
        self.unused = UnusedParameters(**(_embedding(embed_dim, tokens) if embedded else {}))
        self.head = classifier(embed_dim, num_classes)
        names = ["stem.0", "stem.1", "stem.2", f"blocks.{depth - 1}"]
        widths = [embed_dim // 8, embed_dim // 4, embed_dim // 2, embed_dim]
        self.feature_info = feature_maps(names, widths, stage_strides(stem_pools))
        self.apply(_init_weights)
        if like.linear:
            self.blocks.apply(_init_token_layers)

    def _tokens(self, pools: str) -> int:
        """Positions behind the stem at the size the network was made for."""
        stride = stage_strides(pools)[-1]
        return (self.img_size[0] // stride) * (self.img_size[1] // stride)

    def official_names(self) -> OfficialNames:
        return self.release.names

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class. Heads show nowhere."""
        first = "patch_embed.proj_conv.weight"
        hidden = next((key for key in FIRST_MLP if key in tensors), None)
        if first not in tensors or hidden is None:
            return {}
        return told.of_one_width(tensors, own, first, hidden) | {
            "release": _release_of(tensors, tensors[hidden], own["release"]),
            "released_params": "block.0.norm1.weight" in tensors,
        }

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """As the base class, and heads: the release states them for one width only."""
        return ("time_steps", "num_heads")

    def body(self) -> list[tuple[str, nn.Module]]:
        stem = [(f"stem.{i}", stage) for i, stage in enumerate(self.stem)]
        return [
            *stem,
            ("position", self.position),
            *((f"blocks.{i}", b) for i, b in enumerate(self.blocks)),
        ]


def _release_of(tensors: Mapping[str, Tensor], hidden: Tensor, own: str) -> str:
    """hidden: the first weights of an MLP. In our spelling the two without biases look alike."""
    if told.has(tensors, r"^block\.0\.attn\.q_(conv|linear)\.bias$"):
        return "cifar"
    if hidden.ndim == 3 or "pos_embed" in tensors:
        return "cifar10-dvs"
    return "imagenet" if own == "cifar" else own


def _stem(in_chans: int, dim: int, pools: str, neuron: NeuronFactory) -> nn.ModuleList:
    widths = [in_chans, dim // 8, dim // 4, dim // 2, dim]
    return nn.ModuleList(
        ProjectFire(ConvBN(*channels, 3), neuron(), pool)
        for channels, pool in zip(pairwise(widths), stage_pools(pools), strict=True)
    )


def _layer_norms(dim: int) -> dict[str, Tensor]:
    return {f"norm{i}_{name}": value for i in (1, 2) for name, value in _layer_norm(dim).items()}


def _layer_norm(dim: int) -> dict[str, Tensor]:
    return {"weight": torch.ones(dim), "bias": torch.zeros(dim)}


def _embedding(dim: int, tokens: int) -> dict[str, Tensor]:
    norm = {f"norm_{name}": value for name, value in _layer_norm(dim).items()}
    return {"pos_embed": torch.zeros(1, tokens, dim)} | norm


def _init_weights(module: nn.Module) -> None:
    """The release's: linear layers truncated normal of 0.02, bias 0; convolutions keep PyTorch's
    default."""
    if isinstance(module, nn.Linear):
        _truncated(module)


def _init_token_layers(module: nn.Module) -> None:
    """The same where the release has linear layers and ours are 1x1 convolutions."""
    if isinstance(module, nn.Conv2d):
        _truncated(module)


def _truncated(module: nn.Linear | nn.Conv2d) -> None:
    nn.init.trunc_normal_(module.weight, std=0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


_IMAGENET: dict[str, Any] = {"source": "arXiv 2209.15425, ImageNet table", "crop_pct": 1.0}

register_family(
    Spikformer,
    {
        "spikformer_8_384": Variant(
            {"embed_dim": 384, "num_heads": 12},
            published="ImageNet 70.24 %, 7.73 mJ",
            **_IMAGENET,
        ),
        "spikformer_8_512": Variant(
            {"embed_dim": 512},
            published="ImageNet 73.38 %, 11.58 mJ",
            **_IMAGENET,
        ),
        "spikformer_8_768": Variant(
            {"embed_dim": 768, "num_heads": 12},
            published="ImageNet 74.81 %, 21.48 mJ",
            **_IMAGENET,
        ),
        "spikformer_4_384_cifar": Variant(
            {
                "embed_dim": 384,
                "depth": 4,
                "num_heads": 12,
                "stem_pools": "0011",
                "release": "cifar",
            },
            num_classes=10,
            input_size=(3, 32, 32),
            crop_pct=1.0,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            published="CIFAR-10 95.19 %, CIFAR-100 77.86 %; 95.51 %, 78.21 % (400 epochs)",
            source="arXiv 2209.15425, CIFAR table",
        ),
        "spikformer_2_256_dvs": Variant(
            {
                "embed_dim": 256,
                "depth": 2,
                "num_heads": 16,
                "time_steps": 16,
                "release": "cifar10-dvs",
                "input_layout": "events",
            },
            num_classes=10,
            input_size=(2, 128, 128),
            crop_pct=1.0,
            mean=(0.0, 0.0),
            std=(1.0, 1.0),
            published="CIFAR10-DVS 80.9 %, DVS128 Gesture 98.3 % (T 16)",
            source="arXiv 2209.15425, event camera table",
        ),
    },
    first_conv="stem.0.project.conv",
    paper="Spikformer",
)
