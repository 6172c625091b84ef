"""Spike masked autoencoder (SDT-V3, TPAMI 2025): pre-trains the E-SpikeFormer Large models on
images without labels.

Half of the patches are hidden, a sparse spiking encoder reads the rest, a small float transformer
predicts the pixels of the hidden ones. A patch is what one token of the encoder covers: the product
of ``strides`` in each direction. Where paper and release differ, or the release has a slip,
defaults follow the release: checkpoints depend on it.

* the decoder receives the tokens in a random order, though the target is in order:
  ``permute_tokens=False`` puts it right, and is what an own pre-training wants;
* its mask token never meets a token: ``mask_tokens=True`` puts it where patches are hidden;
* its encoder has a position table that nothing reads: kept, frozen, unless
  ``released_params=False``;
* the 768 model has 192 channels where the classifier has 196 (see `e_spikeformer_large`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.layers import (
    SparseConvBN,
    SparseFireProject,
    SparseMLP,
    SparseResidual,
    UnusedParameters,
    block,
    call_sparse,
    check_divides,
    on_map,
)
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.e_spikeformer_large import CONV1D, REP_BRANCH, attention_block, large_names
from spikedriven.models.official import OfficialNames
from spikedriven.models.registry import Variant, register_family
from spikedriven.models.staged import (
    CONV_STAGES,
    Stage,
    StagePlan,
    make_neurons,
    stage_feature_info,
)
from spikedriven.neurons import NeuronChoice, NeuronFactory
from spikedriven.neurons.registry import takes_option


class MaskedPrediction(NamedTuple):
    """loss: mean squared error over hidden patches; prediction: normalised pixels [B, N, row x
    column x channel] of every patch; mask: bool [B, N], True where a patch was hidden.
    """

    loss: Tensor
    prediction: Tensor
    mask: Tensor


class SparseStage(Stage):
    """A conv stage that can be told which patches are visible."""

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        x = call_sparse(self.down, x, active)
        for branches in self.blocks:
            assert isinstance(branches, nn.Sequential)  # see `block`
            for branch in branches:
                x = branch(x, active)
        return x


class TokenStage(Stage):
    """Sparse down-sampling, then dense blocks on all tokens, the hidden ones entering as 0."""

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        return self.blocks(call_sparse(self.down, x, active))


class Decoder(nn.Module):
    """A float vision transformer. Tokens [B, N, dim] -> pixels of each patch [B, N, pixels]."""

    def __init__(
        self, in_dim: int, dim: int, depth: int, num_heads: int, grid: tuple[int, int], pixels: int,
        permute_tokens: bool, mask_tokens: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        check_divides(num_heads, dim)
        self.permute_tokens, self.mask_tokens = permute_tokens, mask_tokens
        self.embed = nn.Linear(in_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(sincos_table(grid, dim), requires_grad=False)
        norm = partial(nn.LayerNorm, eps=1e-6)
        # timm annotates norm_layer as a class, and calls it as any function
        blocks = [Block(dim, num_heads, norm_layer=norm) for _ in range(depth)]  # type: ignore[arg-type]
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm(dim)
        self.pred = nn.Linear(dim, pixels)
        nn.init.normal_(self.mask_token, std=0.02)
        self.apply(_init_linear)

    def forward(self, tokens: Tensor, active: Tensor, rank: Tensor) -> Tensor:
        """active: bool [B, N], False for hidden patches; rank: int64 [B, N], each patch's place
        in the draw.
        """
        x = self.embed(tokens)
        if self.mask_tokens:
            x = torch.where(active[..., None], x, self.mask_token)
        # The release appends one per token the encoder left out; it leaves out none, so the
        # gradient is 0.
        else:
            x = torch.cat([x, self.mask_token.expand(len(x), 0, -1)], dim=1)
        if self.permute_tokens:
            x = x.gather(1, rank[..., None].expand_as(x))
        return self.pred(self.norm(self.blocks(x + self.pos_embed)))


def sincos_table(grid: tuple[int, int], dim: int) -> Tensor:
    """Fixed positions [1, h * w, dim] of the MAE literature: sines and cosines of the column,
    then of the row.
    """
    if dim % 4:
        raise InputError(
            f"a table of sines and cosines needs a width that is a multiple of 4, found {dim}"
        )
    rates = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij"
    )
    angles = [places.reshape(-1, 1) * rates for places in (columns, rows)]
    return (
        torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
        .float()
        .unsqueeze(0)
    )


def _init_linear(module: nn.Module) -> None:
    """The release's: truncated normal of 0.02, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


#: Ours -> the release's names; applied in order (see `official`).
OFFICIAL_NAMES = [
    (r"^decoder\.mask_token", "mask_token"),
    (r"^decoder\.", "decoder_"),
    (r"^unused\.", ""),
    *large_names("spike"),
]


class SpikeMAE(SpikeDrivenModel):
    """Spike masked autoencoder; see the module's docstring. Input: images [B, C, H, W] of
    ``img_size``.

    Encoder keywords are those of `ESpikeFormerLarge`, its last stages without layer scale and drop
    path. mask_ratio: share of patches that are hidden. decoder_dim, decoder_depth,
    decoder_num_heads: of the decoder. ``forward_features``, feature maps and streaming are those of
    the encoder on whole images; so are the spike graph, firing rates and exported files, since the
    forward itself draws random masks.
    """

    graph_method = "encode_image"

    def __init__(
        self,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        time_steps: int = 1,
        embed_dims: Sequence[int] = (128, 256, 512),
        depths: Sequence[int] = (1, 1, 2, 12),
        strides: Sequence[int] = (2, 2, 2, 2),
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        neuron: NeuronChoice = "integer",
        levels: int = 4,
        norm: float | None = None,
        rounding: str = "half_up",
        gradient: str = "strict",
        tau: float = 2.0,
        attention_scale: float = 0.125,
        rep_branch: bool = False,
        mask_ratio: float = 0.5,
        decoder_dim: int = 256,
        decoder_depth: int = 4,
        decoder_num_heads: int = 4,
        permute_tokens: bool = True,
        mask_tokens: bool = False,
        released_params: bool = True,
    ) -> None:
        super().__init__(0, in_chans, img_size, time_steps, "mean", "image")
        plan = StagePlan.of(embed_dims, depths, strides)
        neurons = make_neurons(neuron, tau, levels, norm, rounding, gradient)
        self.feature_info = stage_feature_info(plan)
        self.patch_size = self.feature_info[-1]["reduction"]
        self.grid = _patch_grid(self.img_size, self.patch_size)
        self.num_visible = _num_visible(self.grid, mask_ratio)

        def attention(dim: int) -> nn.Module:
            hidden = int(dim * mlp_ratio)
            return attention_block(
                dim, hidden, num_heads, neurons, attention_scale, rep_branch, layer_scale=0.0
            )

        self.stages = _sparse_stages(plan, in_chans, mlp_ratio, neurons.body, attention)
        self.norm = nn.BatchNorm2d(self.num_features)
        self.decoder = Decoder(
            self.num_features, decoder_dim, decoder_depth, decoder_num_heads, self.grid,
            self.patch_size**2 * in_chans, permute_tokens, mask_tokens,
        )  # fmt: skip
        table = (
            {"pos_embed": sincos_table(self.grid, self.num_features).transpose(1, 2)}
            if released_params
            else {}
        )
        self.unused = UnusedParameters(**table)
        self.head = nn.Identity()

    def forward(self, x: Tensor, noise: Tensor | None = None) -> MaskedPrediction:
        """x: [B, C, H, W]. noise: [B, N], the patches with the smallest values stay visible;
        None draws it, uniform.
        """
        if x.ndim != 4 or tuple(x.shape[-2:]) != self.img_size:
            raise InputError(
                f"masked pre-training takes images [B, {self.in_chans}, {self.img_size[0]}, "
                f"{self.img_size[1]}], found "
                f"{list(x.shape)}; set img_size to the size of the images"
            )
        if noise is None:
            noise = torch.rand(len(x), self.grid[0] * self.grid[1], device=x.device)
        rank = noise.argsort(dim=1).argsort(dim=1)
        active = rank < self.num_visible
        latent = self.encode(x, active)
        prediction = self.decoder(latent, active, rank)
        error = (prediction - self.target(x)).square().mean(dim=-1)
        return MaskedPrediction(error[~active].mean(), prediction, ~active)

    def encode(self, x: Tensor, active: Tensor) -> Tensor:
        """Images [B, C, H, W] and the visible patches, bool [B, N] -> tokens [B, N, dim],
        hidden ones too.
        """
        active = active.unflatten(1, self.grid)
        x = self.arrange(x) * on_map(active, x.shape[-2:]).unsqueeze(1)
        for stage in self.stages:
            x = self._through(stage, x, active)
        return self.norm(x.mean(0)).flatten(2).transpose(1, 2)

    def encode_image(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W], nothing hidden -> the encoder's feature map, mean over T: [B,
        dim, h, w].
        """
        return self.over_time(self.forward_features(x))

    def target(self, x: Tensor) -> Tensor:
        """Pixels of each patch, in the order row, column, channel, normalised over the patch:
        [B, N, pixels].
        """
        pixels = self.patches(x)
        mean, deviation = _patch_statistics(pixels)
        return (pixels - mean) / deviation

    def pixels(self, prediction: Tensor, x: Tensor) -> Tensor:
        """A prediction [B, N, pixels] as images [B, C, H, W], with the normalisation of `target`
        undone.

        x: the images that were predicted, [B, C, H, W]. Mean and deviation of each patch are
        theirs: what is predicted is the structure of a patch, not its brightness and contrast.
        """
        mean, deviation = _patch_statistics(self.patches(x))
        return self.unpatched(prediction * deviation + mean)

    def patches(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> the pixels of each patch, in the order row, column, channel:
        [B, N, pixels].
        """
        size = self.patch_size
        split = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # [B, C, h, row, w, column]
        return split.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def unpatched(self, patches: Tensor) -> Tensor:
        """The inverse of `patches`: [B, N, pixels] -> [B, C, H, W]."""
        size = self.patch_size
        split = patches.unflatten(2, (size, size, self.in_chans)).unflatten(1, self.grid)
        return split.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def hidden_pixels(self, mask: Tensor) -> Tensor:
        """The mask of a `MaskedPrediction`, bool [B, N], pixel by pixel: [B, 1, H, W]."""
        return on_map(mask.unflatten(1, self.grid), self.img_size).unsqueeze(1)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """Of encoder and decoder, and the image size that the decoder's table of positions is
        for.
        """
        found = told.stages(tensors, own)
        if not found:
            return {}
        return found | told.known(
            rep_branch=told.runs(tensors, REP_BRANCH),
            decoder_dim=told.width(tensors, "decoder_embed.weight"),
            decoder_depth=told.count(tensors, r"decoder_blocks\."),
            released_params="pos_embed" in tensors,
            img_size=_image_size(told.width(tensors, "decoder_pos_embed", 1), own),
        )

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """Levels of integer neurons, time steps of the others."""
        return ("levels",) if takes_option(own["neuron"], "levels") else ("time_steps",)

    def official_names(self) -> OfficialNames:
        return OfficialNames(OFFICIAL_NAMES, conv1d=CONV1D)

    def body(self) -> list[tuple[str, nn.Module]]:
        return [(f"stages.{i}", stage) for i, stage in enumerate(self.stages)]

    def head_forward(self, pooled: Tensor, pre_logits: bool = False) -> Tensor:
        return pooled if pre_logits else self.head(pooled)


def _patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the pixels of each patch: [B, N, pixels] -> two of [B,
    N, 1].
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def _patch_grid(img_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    if img_size[0] % patch_size or img_size[1] % patch_size:
        raise InputError(
            f"img_size {img_size} must be a multiple of the patch size {patch_size} (product of "
            "strides)"
        )
    return img_size[0] // patch_size, img_size[1] // patch_size


def _image_size(patches: int | None, own: Mapping[str, Any]) -> int | tuple[int, int] | None:
    """``own["img_size"]`` where it has so many patches; else a square that has; None: no square
    has.
    """
    patch, size = math.prod(own["strides"]), own["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    if patches is None or (height // patch) * (width // patch) == patches:
        return size
    side = math.isqrt(patches)
    return (side * patch, side * patch) if side**2 == patches else None


def _num_visible(grid: tuple[int, int], mask_ratio: float) -> int:
    patches = grid[0] * grid[1]
    visible = int(patches * (1 - mask_ratio))
    if not 0 < visible < patches:
        raise InputError(
            f"mask_ratio {mask_ratio} shows {visible} of {patches} patches; it must show some, not "
            "all"
        )
    return visible


def _sparse_stages(
    plan: StagePlan,
    in_chans: int,
    mlp_ratio: float,
    neuron: NeuronFactory,
    attention: Callable[[int], nn.Module],
) -> nn.ModuleList:
    """The stages of the Large classifier, under the same parameter names, with sparse conv
    layers.
    """
    stages = nn.ModuleList()
    for i, (dim, depth, stride) in enumerate(
        zip(plan.widths, plan.depths, plan.strides, strict=True)
    ):
        conv = SparseConvBN(
            plan.widths[i - 1] if i else in_chans, dim, 3 if i else 7, stride, bias=True
        )
        down = SparseFireProject(neuron(), conv) if i else conv
        if i < CONV_STAGES:
            hidden = int(dim * mlp_ratio)
            blocks = [
                block(mlp=SparseResidual(SparseMLP(dim, hidden, neuron), dim)) for _ in range(depth)
            ]
            stages.append(SparseStage(down, blocks))
        else:
            stages.append(TokenStage(down, [attention(dim) for _ in range(depth)]))
    return stages


_IMAGENET: dict[str, Any] = {
    "num_classes": None,
    "source": "Model_Large of BICLab/Spike-Driven-Transformer-V3",
}

register_family(
    SpikeMAE,
    {
        "spike_mae_12_512": Variant(
            {"embed_dims": (128, 256, 512), "rep_branch": True}, **_IMAGENET
        ),
        "spike_mae_12_768": Variant({"embed_dims": (192, 384, 768)}, **_IMAGENET),
    },
    first_conv="stages.0.down.conv",
    paper="E-SpikeFormer",
)
