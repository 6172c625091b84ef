"""E-SpikeFormer, or SDT-V3, base models and HAR-DVS models (Yao et al., TPAMI 2025): integer
training, spike inference.

Stages of spike-separable convolutions, then blocks of a small one, attention with a wide v, and an
MLP. Residuals are real-valued; a neuron stands in front of each weight layer. The Large models are
in `e_spikeformer_large`. Where paper and release differ, defaults follow the release:

* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the attention scale is 2 / sqrt(d), twice the usual one, with d channels per head
  (``attention_scale``);
* the neuron in front of the classifier hands on undivided counts 0..D;
* no neuron couples time steps: more than one step of a static image repeats the same work;
* the HAR-DVS models divide counts by 1 (19M) or 8 (gesture) though their neurons stop at 4
  (``norm``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from spikedriven.layers import (
    ConvBN,
    DropPath,
    Residual,
    SpikeMLP,
    SpikeSepConv,
    SpikingSelfAttention,
    block,
    check_divides,
)
from spikedriven.models import told
from spikedriven.models.official import OfficialNames
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

#: v has four times the channels of q and k.
V_RATIO = 4

#: Ours -> the release's names; applied in order (see `official`).
OFFICIAL_NAMES = [
    *staged_names("spike"),
    (r"^(block\d\.\d+)\.conv\.scale", r"\1.layer_scale1"),
    (r"^(block\d\.\d+)\.attn\.scale", r"\1.layer_scale2"),
    (r"^(block\d\.\d+)\.mlp\.scale", r"\1.layer_scale3"),
    (r"^(ConvBlock\w+\.\d+)\.conv", r"\1.Conv"),
    (r"(conv|Conv)\.expand\.neuron", r"\1.spike1"),
    (r"(conv|Conv)\.depthwise\.neuron", r"\1.spike2"),
    (r"(conv|Conv)\.contract\.neuron", r"\1.spike3"),
    (r"(conv|Conv)\.expand\.project", r"\1.pwconv1"),
    (r"(conv|Conv)\.depthwise\.project", r"\1.dwconv"),
    (r"(conv|Conv)\.contract\.project", r"\1.pwconv2"),
    (r"((?:q|k|v|proj)_conv|pwconv[12]|dwconv)\.conv", r"\1.0"),
    (r"((?:q|k|v|proj)_conv|pwconv[12]|dwconv)\.bn", r"\1.1"),
    (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.neuron", r"\1.spike\2"),
    (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.project\.(conv|bn)", r"\1.\3\2"),
]
#: Their MLP works on tokens, with Conv1d.
CONV1D = r"mlp\.fc[12]_conv\.weight$"


def conv_block(dim: int, hidden: int, neuron: NeuronFactory) -> nn.Module:
    return block(
        conv=Residual(SpikeSepConv(dim, neuron, kernel=7), dim),
        mlp=Residual(SpikeMLP(dim, hidden, neuron, kernel=3, bias=False), dim),
    )


def attention_block(
    dim: int,
    hidden: int,
    num_heads: int,
    neurons: Neurons,
    scale: float | None,
    layer_scale: float,
    drop_path: float,
) -> nn.Module:
    check_divides(num_heads, dim)
    scale = 2.0 * (dim // num_heads) ** -0.5 if scale is None else scale
    branches = {
        "conv": SpikeSepConv(dim, neurons.body, kernel=3),
        "attn": SpikingSelfAttention(
            dim,
            num_heads,
            neurons.body,
            neurons.attention(),
            scale,
            ConvBN,
            ConvBN,
            v_ratio=V_RATIO,
        ),
        "mlp": SpikeMLP(dim, hidden, neurons.body),
    }
    return block(
        **{name: Residual(b, dim, layer_scale, DropPath(drop_path)) for name, b in branches.items()}
    )


class ESpikeFormer(StagedModel):
    """E-SpikeFormer; see the module's docstring, `StagedModel` for heads, `SpikeDrivenModel` for
    inputs and outputs.

    embed_dims, depths, strides: see `StagePlan`; the published stages have depths (1, 1, 2, 6, 2)
    and total stride 16. neuron: a registered name: "integer", with levels D, norm (default D),
    rounding and gradient of `IntegerNeuron`; or a binary one, with tau. attention_scale: None is 2
    / sqrt(d). layer_scale: initial value of a factor per channel on each branch of the attention
    blocks; 0: no factor. head_init: "trunc_normal" | "xavier" | "default" (PyTorch's).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        time_steps: int = 1,
        embed_dims: Sequence[int] = (64, 128, 256, 360),
        depths: Sequence[int] = (1, 1, 2, 6, 2),
        strides: Sequence[int] = (2, 2, 2, 2, 1),
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        neuron: NeuronChoice = "integer",
        levels: int = 4,
        norm: float | None = None,
        rounding: str = "half_even",
        gradient: str = "inclusive",
        tau: float = 2.0,
        attention_scale: float | None = None,
        layer_scale: float = 0.0,
        head_input: str = "spikes",
        head_init: str = "trunc_normal",
        distilled: bool = False,
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
        plan = StagePlan.of(embed_dims, depths, strides)
        neurons = make_neurons(neuron, tau, levels, norm, rounding, gradient)

        def build(stage: int, dim: int, rate: float) -> nn.Module:
            hidden = int(dim * mlp_ratio)
            if stage < CONV_STAGES:
                return conv_block(dim, hidden, neurons.body)
            return attention_block(
                dim, hidden, num_heads, neurons, attention_scale, layer_scale, rate
            )

        self.stages = build_stages(plan, in_chans, neurons.body, build, drop_path_rate)
        self.finish(plan, neurons.head(), distilled, head_input, head_init)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class, and whether blocks have layer scales."""
        found = super().told_by(tensors, own)
        return found | (
            {"layer_scale": told.layer_scale(tensors, own["layer_scale"])} if found else {}
        )

    def official_names(self) -> OfficialNames:
        return OfficialNames(OFFICIAL_NAMES, conv1d=CONV1D)


_IMAGENET: dict[str, Any] = {
    "crop_pct": 224 / 232,
    "source": "E-SpikeFormer, TPAMI 2025; README of BICLab/Spike-Driven-Transformer-V3",
}
_EVENTS: dict[str, Any] = {
    "mean": (0.0, 0.0),
    "std": (1.0, 1.0),
    "source": "DVS folder of BICLab/Spike-Driven-Transformer-V3",
}
_FASHION: dict[str, Any] = {
    "mean": (0.2860,),
    "std": (0.3530,),
    "source": "ours, see docs/results.md; not a network of the paper",
}
_EVENT_MODEL: dict[str, Any] = {
    "embed_dims": (64, 128, 256, 360),
    "time_steps": 8,
    "input_layout": "events",
    "layer_scale": 1e-6,
    "head_init": "default",
}

register_family(
    ESpikeFormer,
    {
        "e_spikeformer_3m": Variant({"embed_dims": (24, 48, 96, 128)}, **_IMAGENET),
        "e_spikeformer_5m": Variant({"embed_dims": (32, 64, 128, 192)}, **_IMAGENET),
        "e_spikeformer_10m": Variant(
            {"embed_dims": (48, 96, 192, 240)}, published="ImageNet 78.5 % at 1x4", **_IMAGENET
        ),
        "e_spikeformer_19m": Variant(
            {"embed_dims": (64, 128, 256, 360)}, published="ImageNet 79.8 % at 1x4", **_IMAGENET
        ),
        "e_spikeformer_hardvs_19m": Variant(
            {**_EVENT_MODEL, "norm": 1.0}, num_classes=300, input_size=(2, 224, 224), **_EVENTS
        ),
        "e_spikeformer_fashion": Variant(
            {
                "embed_dims": (64, 64, 128, 128),
                "depths": (1, 1, 1, 2, 0),
                "strides": (1, 2, 2, 1, 1),
                "num_heads": 4,
                "mlp_ratio": 2,
                "levels": 8,
                "attention_scale": 2**-0.5,
            },
            num_classes=10,
            input_size=(1, 28, 28),
            crop_pct=1.0,
            **_FASHION,
        ),
        "e_spikeformer_gesture_6m": Variant(
            {**_EVENT_MODEL, "norm": 8.0, "depths": (1, 1, 2, 1, 0)},
            num_classes=11,
            input_size=(2, 128, 128),
            crop_pct=1.0,
            **_EVENTS,
        ),
    },
    first_conv="stages.0.down.conv",
    paper="E-SpikeFormer",
)
