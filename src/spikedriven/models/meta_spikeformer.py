"""Meta-SpikeFormer, or SDT-V2 (Yao et al., ICLR 2024): conv stages, then blocks of RepConv
attention; LIF neurons.

Residuals are real-valued; a neuron stands in front of each weight layer or chain of weight layers.
Where paper and release differ, defaults follow the release:

* drop path is configured there but never applied: ``drop_path_rate`` is 0 by default and really
  drops when set;
* the attention scale is 0.125 for every head width (``attention_scale``);
* the classifier reads spikes; files from before March 2024 may expect the real-valued mean
  (``head_input="mean"``);
* the 1x1 convolution behind a depthwise one, and the inside of a RepConv, read real values: meant
  to be folded.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from spikedriven.layers import (
    DropPath,
    RepConvBN,
    Residual,
    SepConv,
    SpikeMLP,
    SpikingSelfAttention,
    block,
)
from spikedriven.models.official import OfficialNames
from spikedriven.models.registry import Variant, register_family
from spikedriven.models.staged import (
    CONV_STAGES,
    Neurons,
    StagedModel,
    StagePlan,
    build_stages,
    lif_neurons,
    staged_names,
)
from spikedriven.neurons import NeuronChoice, NeuronFactory

#: Ours -> the release's names; applied in order (see `official`).
OFFICIAL_NAMES = [
    *staged_names("lif"),
    (r"\.conv\.expand\.neuron", ".Conv.lif1"),
    (r"\.conv\.expand\.project\.conv", ".Conv.pwconv1"),
    (r"\.conv\.expand\.project\.bn", ".Conv.bn1"),
    (r"\.conv\.contract\.neuron", ".Conv.lif2"),
    (r"\.conv\.contract\.project\.depthwise", ".Conv.dwconv"),
    (r"\.conv\.contract\.project\.pointwise\.conv", ".Conv.pwconv2"),
    (r"\.conv\.contract\.project\.pointwise\.bn", ".Conv.bn2"),
    (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.neuron", r"\1.lif\2"),
    (r"^(ConvBlock\w+\.\d+)\.mlp\.fc([12])\.project\.(conv|bn)", r"\1.\3\2"),
    (r"(q|k|v|proj)_conv\.first", r"\1_conv.0.body.0"),
    (r"(q|k|v|proj)_conv\.bn_pad", r"\1_conv.0.body.1.bn"),
    (r"(q|k|v|proj)_conv\.depthwise", r"\1_conv.0.body.2.0"),
    (r"(q|k|v|proj)_conv\.last", r"\1_conv.0.body.2.1"),
    (r"(q|k|v|proj)_conv\.bn_inner", r"\1_conv.0.body.2.2"),
    (r"(q|k|v|proj)_conv\.bn\b", r"\1_conv.1"),
]
#: Their MLP works on tokens, with Conv1d.
CONV1D = r"mlp\.fc[12]_conv\.weight$"


def conv_block(dim: int, hidden: int, neuron: NeuronFactory) -> nn.Module:
    return block(
        conv=Residual(SepConv(dim, neuron), dim),
        mlp=Residual(SpikeMLP(dim, hidden, neuron, kernel=3, bias=False), dim),
    )


def attention_block(
    dim: int, hidden: int, num_heads: int, neurons: Neurons, scale: float, drop_path: float
) -> nn.Module:
    attn = SpikingSelfAttention(
        dim, num_heads, neurons.body, neurons.attention(), scale, RepConvBN, RepConvBN
    )
    return block(
        attn=Residual(attn, dim, drop_path=DropPath(drop_path)),
        mlp=Residual(SpikeMLP(dim, hidden, neurons.body), dim, drop_path=DropPath(drop_path)),
    )


class MetaSpikeFormer(StagedModel):
    """Meta-SpikeFormer; see the module's docstring, `StagedModel` for heads, `SpikeDrivenModel` for
    inputs and outputs.

    embed_dims, depths, strides: see `StagePlan`; the published stages have depths (1, 1, 2, 6, 2)
    and total stride 16. neuron: a registered name; tau: its time constant in steps.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = 224,
        time_steps: int = 1,
        embed_dims: Sequence[int] = (128, 256, 512, 640),
        depths: Sequence[int] = (1, 1, 2, 6, 2),
        strides: Sequence[int] = (2, 2, 2, 2, 1),
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        neuron: NeuronChoice = "lif",
        tau: float = 2.0,
        attention_scale: float = 0.125,
        head_input: str = "spikes",
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
        plan, neurons = StagePlan.of(embed_dims, depths, strides), lif_neurons(neuron, tau)

        def build(stage: int, dim: int, rate: float) -> nn.Module:
            hidden = int(dim * mlp_ratio)
            if stage < CONV_STAGES:
                return conv_block(dim, hidden, neurons.body)
            return attention_block(dim, hidden, num_heads, neurons, attention_scale, rate)

        self.stages = build_stages(plan, in_chans, neurons.body, build, drop_path_rate)
        self.finish(plan, neurons.head(), distilled, head_input, "trunc_normal")

    def official_names(self) -> OfficialNames:
        return OfficialNames(OFFICIAL_NAMES, conv1d=CONV1D)


_IMAGENET: dict[str, Any] = {
    "source": "Meta-SpikeFormer, ICLR 2024; README of BICLab/Spike-Driven-Transformer-V2"
}

register_family(
    MetaSpikeFormer,
    {
        "meta_spikeformer_15m": Variant({"embed_dims": (64, 128, 256, 360)}, **_IMAGENET),
        "meta_spikeformer_31m": Variant(
            {"embed_dims": (96, 192, 384, 480)},
            published="ImageNet 77.2 % at T 4 (third-party report)",
            **_IMAGENET,
        ),
        "meta_spikeformer_55m": Variant(
            {"embed_dims": (128, 256, 512, 640)},
            published="ImageNet 80.0 % at T 4, distilled",
            **_IMAGENET,
        ),
        "meta_spikeformer_124m": Variant({"embed_dims": (192, 384, 768, 960)}, **_IMAGENET),
        "meta_spikeformer_hardvs_18m": Variant(
            {
                "embed_dims": (80, 160, 320, 400),
                "depths": (1, 1, 2, 4, 2),
                "time_steps": 8,
                "input_layout": "events",
            },
            num_classes=300,
            input_size=(2, 224, 224),
            mean=(0.0, 0.0),
            std=(1.0, 1.0),
            source="DVS/Hardvs of BICLab/Spike-Driven-Transformer-V3",
        ),
    },
    first_conv="stages.0.down.conv",
    paper="Meta-SpikeFormer",
)
