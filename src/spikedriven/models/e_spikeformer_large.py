"""E-SpikeFormer, or SDT-V3, Large models (Yao et al., TPAMI 2025): what the spike MAE pre-trains.

Conv stages of two dense 3x3 convolutions, then twelve blocks of attention and MLP with layer
scales. Residuals are real-valued; a neuron stands in front of each weight layer or chain of weight
layers. Where paper and release differ, defaults follow the release:

* ``head`` reads the real-valued mean over positions (``head_input``), ``head_kd`` reads undivided
  counts;
* the release drops paths for the whole mini-batch at once, with a rate of 0.1 that no script can
  change; here ``drop_path_rate`` is 0 by default and drops per sample (``drop_path_per="batch"``
  drops as released);
* the 83M model has a further branch in each block (``rep_branch``), which a slip in the release
  keeps from running; the trained 83M file seems to come from a network without it;
* the 171M model has 196 channels where its MAE has 192: for weights from the MAE use
  ``embed_dims=(192, 384, 768)``;
* ``levels`` is 4 in the code, 8 in the published results.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from spikedriven.layers import (
    DropPath,
    FireProject,
    RepPointwise,
    Residual,
    SpikeMLP,
    SpikingSelfAttention,
    block,
)
from spikedriven.models import told
from spikedriven.models.official import OfficialNames, Rules
from spikedriven.models.registry import Variant, register_family
from spikedriven.models.staged import (
    CONV_STAGES,
    Neurons,
    StagedModel,
    StagePlan,
    build_stages,
    make_neurons,
    staged_names,
)
from spikedriven.neurons import NeuronChoice, NeuronFactory

#: Inner channels of the attention projections' chains, per outer channel.
CHAIN_RATIO = 1.5


def large_names(down_word: str) -> Rules:
    """Ours -> the release's names; applied in order. down_word: what it calls a neuron in
    down-sampling.
    """
    return [
        *staged_names("lif", down_word),
        (r"^(block\d\.\d+)\.attn\.scale", r"\1.layer_scale1"),
        (r"^(block\d\.\d+)\.mlp\.scale", r"\1.layer_scale2"),
        (r"^(block\d\.\d+)\.rep\.neuron", r"\1.lif"),
        (r"^(block\d\.\d+)\.rep\.project", r"\1.rep_conv"),
        (r"((?:q|k|v|proj)_conv)\.(first|last)", r"\1.0.\2"),
        (r"((?:q|k|v|proj)_conv)\.bn", r"\1.1"),
        (r"((?:_conv\.0|rep_conv))\.first\.", r"\1.conv1."),
        (r"((?:_conv\.0|rep_conv))\.last\.", r"\1.conv2."),
        (r"(_conv(?:\.0)?\.conv[12])\.conv", r"\1.0"),
        (r"(_conv(?:\.0)?\.conv[12])\.bn", r"\1.1"),
        (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.neuron", r"\1.neuron\2"),
        (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.project\.conv", r"\1.conv\2.0.0"),
        (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.project\.bn", r"\1.conv\2.0.1"),
    ]


#: Their keys of the further branch of the 83M model.
REP_BRANCH = r"^block\d\.\d+\.rep_conv\."
#: Their attention blocks work on tokens, with Conv1d.
CONV1D = r"^block.*(mlp\.fc[12]_conv|conv[12]\.0)\.weight$"


def conv_block(dim: int, hidden: int, neuron: NeuronFactory) -> nn.Module:
    return block(mlp=Residual(SpikeMLP(dim, hidden, neuron, kernel=3), dim))


def attention_block(
    dim: int,
    hidden: int,
    num_heads: int,
    neurons: Neurons,
    scale: float,
    rep_branch: bool,
    layer_scale: float,
    drop_path: nn.Module | None = None,
) -> nn.Module:
    """rep_branch: a chain of two 1x1 convolutions as a first branch, without layer scale and
    drop path.
    """
    project = partial(RepPointwise, hidden=int(CHAIN_RATIO * dim))
    attn = SpikingSelfAttention(
        dim, num_heads, neurons.body, neurons.attention(), scale, project, project
    )
    branches = {
        "attn": Residual(attn, dim, layer_scale, drop_path),
        "mlp": Residual(SpikeMLP(dim, hidden, neurons.body), dim, layer_scale, drop_path),
    }
    if rep_branch:
        chain = FireProject(neurons.body(), RepPointwise(dim, dim, hidden=dim, last_bn=False))
        branches = {"rep": Residual(chain, dim), **branches}
    return block(**branches)


class ESpikeFormerLarge(StagedModel):
    """E-SpikeFormer Large; see the module's docstring, `StagedModel` for heads, `SpikeDrivenModel`
    for the rest.

    embed_dims, depths, strides: see `StagePlan`; the published stages have depths (1, 1, 2, 12) and
    total stride 16. neuron: a registered name: "integer", with levels D, norm (default D), rounding
    and gradient of `IntegerNeuron`; or a binary one, with tau. rep_branch: see `attention_block`;
    without it, a checkpoint's tensors of that branch are left out.
    layer_scale: initial value of a factor per channel on attention and MLP branches; 0: no factor.
    """

    def __init__(
        self,
        num_classes: int = 1000,
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
        layer_scale: float = 1e-6,
        head_input: str = "mean",
        distilled: bool = False,
        output: str = "mean",
        drop_path_rate: float = 0.0,
        drop_path_per: str = "sample",
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
        plan = StagePlan.of(embed_dims, depths, strides)
        neurons = make_neurons(neuron, tau, levels, norm, rounding, gradient)
        self.rep_branch = rep_branch

        def build(stage: int, dim: int, rate: float) -> nn.Module:
            hidden = int(dim * mlp_ratio)
            if stage < CONV_STAGES:
                return conv_block(dim, hidden, neurons.body)
            drop_path = DropPath(rate, drop_path_per)
            return attention_block(
                dim, hidden, num_heads, neurons, attention_scale, rep_branch, layer_scale, drop_path
            )

        self.stages = build_stages(plan, in_chans, neurons.body, build, drop_path_rate)
        self.finish(plan, neurons.head(), distilled, head_input, "xavier")

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class, and whether blocks have layer scales and a further branch that can
        run.
        """
        found = super().told_by(tensors, own)
        if not found:
            return {}
        scale = told.layer_scale(tensors, own["layer_scale"])
        return found | {"layer_scale": scale, "rep_branch": told.runs(tensors, REP_BRANCH)}

    def official_names(self) -> OfficialNames:
        ignored = r"$^" if self.rep_branch else REP_BRANCH
        return OfficialNames(large_names("lif"), conv1d=CONV1D, ignored=ignored)


_IMAGENET: dict[str, Any] = {
    "crop_pct": 224 / 232,
    "source": "E-SpikeFormer, TPAMI 2025; README of BICLab/Spike-Driven-Transformer-V3",
}

register_family(
    ESpikeFormerLarge,
    {
        "e_spikeformer_83m": Variant(
            {"embed_dims": (128, 256, 512), "rep_branch": True},
            published="ImageNet 84.0 % at 1x8", **_IMAGENET,
        ),
        "e_spikeformer_171m": Variant(
            {"embed_dims": (196, 384, 768)},
            published="ImageNet 86.2 % at 1x8, 384 pixels", **_IMAGENET,
        ),
    },
    first_conv="stages.0.down.conv",
    paper="E-SpikeFormer",
)  # fmt: skip
