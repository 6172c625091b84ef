"""QKFormer (Zhou et al., NeurIPS 2024, arXiv 2403.16552): a hierarchical spiking transformer with
Q-K attention.

Three stages. The first two mask tokens by a neuron that sums q (additions and masks only), the
third attends as Spikformer does. Every stage begins with a patch embedding that has a shortcut of
its own. Residuals add spikes, so that maps hold counts which grow with every sum. Where the release
differs from the paper, or from itself:

* **the last neuron of each self-attention in stage 3 runs, in the release, over time and batch
  merged into one axis**, so that the images of a batch disturb one another. Here it runs over time;
  ``released_time_axis=True`` computes what the release does, which its published figures depend on;
* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the classifier reads the real-valued mean over positions and time.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.layers import (
    AttentionBlock,
    ConvBN,
    FiredAttention,
    FiredMLP,
    ProjectFire,
    check_divides,
    drop_path_rates,
    halving_pool,
    token_attention,
)
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel, classifier, feature_maps
from spikedriven.models.official import OfficialNames, Rules
from spikedriven.models.registry import Variant, register_family
from spikedriven.neurons import NeuronChoice, NeuronFactory, neuron_factory

STAGES = 3


class ProjectPool(nn.Module):
    """Conv and BN, pooled before any neuron. [T, B, in, H, W] -> [T, B, out, H', W']."""

    def __init__(self, in_chans: int, out_chans: int, pool: bool) -> None:
        super().__init__()
        self.project = ConvBN(in_chans, out_chans, 3)
        self.pool = halving_pool() if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.project(x))


class PatchEmbedding(nn.Module):
    """Rows of conv, BN, pool and neuron, plus a strided 1x1 shortcut that fires (SPEDS).

    Spikes or counts [T, B, in, H, W] -> counts 0..2, [T, B, out, H', W']. pools: for each row,
    whether it halves the resolution.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        pools: Sequence[bool],
        neuron: NeuronFactory,
    ) -> None:
        super().__init__()
        widths = [in_chans] + [out_chans] * len(pools)
        self.rows = nn.Sequential(
            *(
                ProjectFire(ProjectPool(*channels, pool), neuron())
                for channels, pool in zip(pairwise(widths), pools, strict=True)
            )
        )
        self.shortcut = ProjectFire(ConvBN(in_chans, out_chans, stride=2 ** sum(pools)), neuron())

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x) + self.shortcut(x)


class TokenAttention(nn.Module):
    """Q-K token attention and a projection that fires. [T, B, C, H, W] ->
    spikes."""

    def __init__(self, dim: int, num_heads: int, neuron: NeuronFactory) -> None:
        super().__init__()
        check_divides(num_heads, dim)
        self.num_heads = num_heads
        self.q = ProjectFire(ConvBN(dim, dim), neuron())
        self.k = ProjectFire(ConvBN(dim, dim), neuron())
        self.attention_neuron = neuron(v_threshold=0.5)
        self.out = ProjectFire(ConvBN(dim, dim, bias=True), neuron())

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q(x), self.k(x)
        return self.out(token_attention(q, k, self.attention_neuron, self.num_heads))


class BatchAsTime(ProjectFire):
    """The release's last unit of self-attention: its neuron goes through every image of every step
    as if all were steps."""

    def forward(self, x: Tensor) -> Tensor:
        projected = self.project(x)
        return self.neuron(projected.flatten(0, 1)).unflatten(0, projected.shape[:2])


class Stage(nn.Module):
    """A patch embedding and a row of blocks: `QKFormer.body` calls them one by one."""

    def __init__(self, embed: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embed, self.blocks = embed, nn.ModuleList(blocks)


#: Ours -> the names that both networks of the release share; applied in order (see `official`).
OFFICIAL_NAMES: Rules = [
    (r"^stem\.project\.project\.(conv|bn)", r"patch_embed1.proj_\1"),
    (r"^stem\.neuron", r"patch_embed1.proj_lif"),
    (r"^stages\.0\.embed\.", r"patch_embed1."),
    (r"^stages\.1\.embed\.", r"patch_embed2."),
    (r"^stages\.2\.embed\.", r"patch_embed3."),
    (r"^(patch_embed\d)\.shortcut\.project\.(conv|bn)", r"\1.proj_res_\2"),
    (r"^(patch_embed\d)\.shortcut\.neuron", r"\1.proj_res_lif"),
    (r"^(patch_embed1)\.rows\.0", r"\1.proj1"),
    (r"^(patch_embed1)\.rows\.1", r"\1.proj2"),
    (r"^(patch_embed\d)\.rows\.0", r"\1.proj3"),
    (r"^(patch_embed\d)\.rows\.1", r"\1.proj4"),
    (r"^(patch_embed\d\.proj\d)\.project\.project\.(conv|bn)", r"\1_\2"),
    (r"^(patch_embed\d\.proj\d)\.neuron", r"\1_lif"),
    (r"^stages\.0\.blocks\.", r"stage1."),
    (r"^stages\.1\.blocks\.", r"stage2."),
    (r"^stages\.2\.blocks\.", r"stage3."),
    (r"^(stage[12]\.\d+)\.attn", r"\1.tssa"),
    (r"\.attention_neuron", r".attn_lif"),
    (r"\.([qkv])\.project\.(conv|bn)", r".\1_\2"),
    (r"\.([qkv])\.neuron", r".\1_lif"),
    (r"\.out\.project\.(conv|bn)", r".proj_\1"),
    (r"\.out\.neuron", r".proj_lif"),
    (r"mlp\.fc([12])\.project\.(conv|bn)", r"mlp.fc\1_\2"),
    (r"mlp\.fc([12])\.neuron", r"mlp.fc\1_lif"),
]
#: The CIFAR files spell two things differently.
CIFAR_NAMES: Rules = [(r"^(stage3\.\d+)\.attn", r"\1.ssa"), (r"mlp\.fc([12])_", r"mlp.mlp\1_")]
#: The first weights of an MLP that every depth has, as the release's files call them.
FIRST_MLP = ("stage3.0.mlp.fc1_conv.weight", "stage3.0.mlp.mlp1_conv.weight")
#: Their 1x1 convolutions over tokens are Conv1d; ours run over the map.
CONV1D = r"(?:tssa|ssa|attn)\.(?:q|k|v|proj)_conv\.weight$"
#: Where resolution is halved: in the stem, and in each row of the three patch embeddings.
POOLS: dict[str, tuple[bool, tuple[tuple[bool, ...], ...]]] = {
    "imagenet": (True, ((True, False), (True, False), (True, False))),
    "cifar": (False, ((False,), (False, True), (False, True))),
}


class QKFormer(SpikeDrivenModel):
    """QKFormer; see the module's docstring, and `SpikeDrivenModel` for inputs and outputs.

    embed_dim: width of the last stage; the others have a quarter and a half of it. depths: blocks
    per stage. release: "imagenet" (stride 16) or "cifar" (stride 4): whose patch embedding and key
    names the network has. released_time_axis: see the module's docstring; with True logits of an
    image depend on its neighbours in the batch.
    """

    mean_before_head = True

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        time_steps: int = 4,
        embed_dim: int = 512,
        depths: Sequence[int] = (1, 2, 7),
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        release: str = "imagenet",
        released_time_axis: bool = False,
        neuron: NeuronChoice = "lif",
        tau: float = 2.0,
        output: str = "mean",
        drop_path_rate: float = 0.0,
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
        _check(embed_dim, depths, release)
        make = neuron_factory(neuron, tau=tau)
        self.cifar_names = release == "cifar"
        widths = [embed_dim // 8, embed_dim // 4, embed_dim // 2, embed_dim]
        first, pools = POOLS[release]
        self.stem = ProjectFire(ProjectPool(in_chans, widths[0], first), make())
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.stages = nn.ModuleList(
            Stage(
                PatchEmbedding(widths[i], widths[i + 1], pools[i], make),
                [
                    AttentionBlock(
                        _attention(i, widths[i + 1], num_heads, make, released_time_axis),
                        FiredMLP(widths[i + 1], int(widths[i + 1] * mlp_ratio), make),
                        next(rates),
                    )
                    for _ in range(depths[i])
                ],
            )
            for i in range(STAGES)
        )
        self.head = classifier(embed_dim, num_classes)
        names = ["stem", *self._last_of_stages()]
        self.feature_info = feature_maps(names, widths, _strides(first, pools))
        self.apply(_init_weights)

    def official_names(self) -> OfficialNames:
        return OfficialNames(OFFICIAL_NAMES + CIFAR_NAMES * self.cifar_names, conv1d=CONV1D)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class. Heads and the time axis of the last neurons show nowhere."""
        first = "patch_embed1.proj_conv.weight"
        if first not in tensors:
            return {}
        cifar = "patch_embed1.proj2_conv.weight" not in tensors
        hidden = next((key for key in FIRST_MLP if key in tensors), "")
        dim = 8 * tensors[first].shape[0]
        return told.classifier(tensors) | told.known(
            in_chans=told.width(tensors, first, 1),
            embed_dim=dim,
            depths=tuple(told.count(tensors, rf"stage{i + 1}\.") for i in range(STAGES)),
            release="cifar" if cifar else "imagenet",
            mlp_ratio=told.mlp_ratio(told.width(tensors, hidden), dim, own["mlp_ratio"]),
            neuron=told.lif_kind(tensors, own["neuron"]),
        )

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """As the base class, and the axis that the last neurons ran over in training."""
        return ("time_steps", "released_time_axis")

    def body(self) -> list[tuple[str, nn.Module]]:
        modules: list[tuple[str, nn.Module]] = [("stem", self.stem)]
        for i, stage in enumerate(cast(Iterable[Stage], self.stages)):
            modules.append((f"stages.{i}.embed", stage.embed))
            modules += [(f"stages.{i}.blocks.{j}", block) for j, block in enumerate(stage.blocks)]
        return modules

    def _last_of_stages(self) -> list[str]:
        """Names of the modules of the body whose successor belongs to the next stage."""
        names = [name for name, _ in self.body()]
        ends = [one for one, following in pairwise(names) if following.endswith("embed")]
        return [*ends[1:], names[-1]]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups: the stem with the first patch embedding, then block by block.

        The other embeddings go with the block behind them.
        """
        stem = r"^stem|^stages\.0\.embed"
        if coarse:
            return {"stem": stem, "blocks": r"^stages\.(\d+)"}
        return {
            "stem": stem,
            "blocks": [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)\.embed", (0,))],
        }


def _check(embed_dim: int, depths: Sequence[int], release: str) -> None:
    if embed_dim % 8:
        raise InputError(f"embed_dim must be a multiple of 8, found {embed_dim}")
    if len(depths) != STAGES or any(not isinstance(depth, int) or depth < 0 for depth in depths):
        raise InputError(f"depths must be {STAGES} block counts such as (1, 2, 7), found {depths}")
    if release not in POOLS:
        raise InputError(f"release must be one of {', '.join(POOLS)}, found {release!r}")


def _attention(
    stage: int,
    dim: int,
    num_heads: int,
    neuron: NeuronFactory,
    released: bool,
) -> nn.Module:
    """Tokens are masked in the first two stages; the last one attends."""
    if stage < STAGES - 1:
        return TokenAttention(dim, num_heads, neuron)
    unit = BatchAsTime if released else ProjectFire
    return FiredAttention(dim, num_heads, neuron, out=unit(ConvBN(dim, dim, bias=True), neuron()))


def _strides(first: bool, pools: Sequence[Sequence[bool]]) -> list[int]:
    halvings = [int(first), *(sum(rows) for rows in pools)]
    return [2 ** sum(halvings[: i + 1]) for i in range(len(halvings))]


def _init_weights(module: nn.Module) -> None:
    """The release's: the classifier truncated normal of 0.02, bias 0; convolutions keep PyTorch's
    default."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


_IMAGENET: dict[str, Any] = {
    "source": "README of github.com/zhouchenlin2096/QKFormer; energies: table of arXiv 2403.16552",
    "crop_pct": 0.875,
}
_AS_RELEASED = "with released_time_axis"

register_family(
    QKFormer,
    {
        "qkformer_10_384": Variant(
            {"embed_dim": 384, "num_heads": 6},
            published=f"ImageNet 78.80 %, 15.13 mJ {_AS_RELEASED}",
            **_IMAGENET,
        ),
        "qkformer_10_512": Variant(
            {"embed_dim": 512, "num_heads": 8},
            published=f"ImageNet 82.04 %, 21.99 mJ {_AS_RELEASED}",
            **_IMAGENET,
        ),
        "qkformer_10_768": Variant(
            {"embed_dim": 768, "num_heads": 12},
            published=f"ImageNet 84.22 %, 38.91 mJ {_AS_RELEASED}",
            **_IMAGENET,
        ),
        "qkformer_4_384_cifar": Variant(
            {"embed_dim": 384, "depths": (1, 1, 2), "release": "cifar"},
            num_classes=10,
            input_size=(3, 32, 32),
            crop_pct=1.0,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            published=f"CIFAR-10 96.18 %, CIFAR-100 81.15 % {_AS_RELEASED}",
            source="arXiv 2403.16552, CIFAR table",
        ),
    },
    first_conv="stem.project.project.conv",
    paper="QKFormer",
)
