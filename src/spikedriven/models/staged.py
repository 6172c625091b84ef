"""What Meta-SpikeFormer, E-SpikeFormer and the spike MAE share: the plan of stages, their neurons,
one or two heads.

Each stage down-samples and then runs its blocks: three stages of convolutions, then stages of
attention.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikedriven.errors import InputError
from spikedriven.layers import ConvBN, FireProject, Scale, drop_path_rates
from spikedriven.models import told
from spikedriven.models.base import SpikeDrivenModel, classifier
from spikedriven.models.official import Rules
from spikedriven.neurons import NeuronChoice, NeuronFactory, neuron_factory
from spikedriven.neurons.registry import takes_option

CONV_STAGES = 3
HEAD_INPUTS = ("spikes", "mean")


class Neurons(NamedTuple):
    """The factories of one network: in the body, behind attention products, in front of the
    classifier.
    """

    body: NeuronFactory
    attention: NeuronFactory
    head: NeuronFactory


def lif_neurons(choice: NeuronChoice, tau: float) -> Neurons:
    """Threshold 1, and 0.5 behind attention (Meta-SpikeFormer)."""
    body = neuron_factory(choice, tau)
    return Neurons(body, neuron_factory(choice, tau, v_threshold=0.5), body)


def make_neurons(
    choice: NeuronChoice, tau: float, levels: int, norm: float | None, rounding: str, gradient: str
) -> Neurons:
    """Of a registered name: with tau, or, where its neurons count to ``levels``, with the last
    four options.
    """
    if takes_option(choice, "levels"):
        return integer_neurons(choice, levels, norm, rounding, gradient)
    return lif_neurons(choice, tau)


def integer_neurons(
    choice: NeuronChoice, levels: int, norm: float | None, rounding: str, gradient: str
) -> Neurons:
    """SFA neurons; the one in front of the classifier hands on undivided counts (both
    E-SpikeFormer releases).
    """
    wanted: dict[str, Any] = {
        "levels": levels,
        "norm": norm,
        "rounding": rounding,
        "gradient": gradient,
    }
    body = neuron_factory(
        choice, **{name: value for name, value in wanted.items() if takes_option(choice, name)}
    )
    return Neurons(body, body, partial(body, norm=1) if takes_option(choice, "norm") else body)


@dataclass(frozen=True)
class StagePlan:
    """Channels, number of blocks and stride of each stage."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(
        cls, embed_dims: Sequence[int], depths: Sequence[int], strides: Sequence[int]
    ) -> "StagePlan":
        """The first stage has half of ``embed_dims[0]`` channels, the others have
        ``embed_dims``.
        """
        plan = cls((embed_dims[0] // 2, *embed_dims), tuple(depths), tuple(strides))
        if not len(plan.widths) == len(plan.depths) == len(plan.strides):
            stages = len(plan.widths)
            raise InputError(
                f"{len(embed_dims)} embed_dims make {stages} stages, which need {stages} depths "
                "and "
                f"{stages} strides; found depths {plan.depths}, strides {plan.strides}"
            )
        if min(plan.widths) < 1 or min(plan.depths) < 0 or min(plan.strides) < 1:
            raise InputError(
                "embed_dims must be at least 2, depths at least 0 and strides at least 1; found "
                f"{plan}"
            )
        return plan

    def drop_path_rates(self, rate: float) -> list[list[float]]:
        """Per stage and block: rising linearly over all attention blocks; conv blocks drop
        nothing.
        """
        rates = iter(drop_path_rates(rate, sum(self.depths[CONV_STAGES:])))
        return [
            [0.0 if i < CONV_STAGES else next(rates) for _ in range(n)]
            for i, n in enumerate(self.depths)
        ]


class Stage(nn.Module):
    """Down-sampling, then blocks. [T, B, in, H, W] -> [T, B, out, H/stride, W/stride],
    real-valued.
    """

    def __init__(self, down: nn.Module, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.down, self.blocks = down, nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.down(x))


def down_sampling(stage: int, plan: StagePlan, in_chans: int, neuron: NeuronFactory) -> nn.Module:
    """7x7 convolution on the image, then 3x3 ones on spikes, each with bias and BN."""
    width, stride = plan.widths[stage], plan.strides[stage]
    if stage == 0:
        return ConvBN(in_chans, width, 7, stride, bias=True)
    return FireProject(neuron(), ConvBN(plan.widths[stage - 1], width, 3, stride, bias=True))


#: (stage, channels, drop path rate) -> a block.
BlockBuilder = Callable[[int, int, float], nn.Module]


def build_stages(
    plan: StagePlan,
    in_chans: int,
    neuron: NeuronFactory,
    build: BlockBuilder,
    drop_path_rate: float = 0.0,
) -> nn.ModuleList:
    rates = plan.drop_path_rates(drop_path_rate)
    return nn.ModuleList(
        Stage(
            down_sampling(i, plan, in_chans, neuron), [build(i, width, rate) for rate in rates[i]]
        )
        for i, width in enumerate(plan.widths)
    )


def stage_feature_info(plan: StagePlan) -> list[dict]:
    """One feature map per stage, with its true stride."""
    strides = [math.prod(plan.strides[: i + 1]) for i in range(len(plan.strides))]
    return [
        {"num_chs": width, "reduction": stride, "module": f"stages.{i}"}
        for i, (width, stride) in enumerate(zip(plan.widths, strides, strict=True))
    ]


class StagedModel(SpikeDrivenModel):
    """A classifier of stages with one head, or two for distillation.

    A subclass sets ``stages`` and calls `finish`. distilled: a second head, ``head_kd``, for a
    teacher's labels; then training returns the pair (logits, logits of the second head), evaluation
    their mean. head_input: what ``head`` reads, "spikes" or the real-valued "mean" over positions;
    ``head_kd`` always reads spikes.
    """

    stages: nn.ModuleList

    def finish(
        self,
        plan: StagePlan,
        head_neuron: nn.Module,
        distilled: bool,
        head_input: str,
        head_init: str,
    ) -> None:
        """Everything behind the stages."""
        if head_input not in HEAD_INPUTS or head_init not in HEAD_INITS:
            raise InputError(
                f"head_input must be one of {HEAD_INPUTS} and head_init one of "
                f"{tuple(HEAD_INITS)}, "
                f"found {head_input!r} and {head_init!r}"
            )
        self.distilled, self.head_input, self.head_init = distilled, head_input, head_init
        self.head_neuron, self.halve = head_neuron, Scale(0.5)
        self.feature_info = stage_feature_info(plan)
        self.reset_classifier(self.num_classes)

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class. Strides and heads show nowhere; no published network of these
        families varies them.
        """
        stages = told.stages(tensors, own)
        distilled = {"distilled": "head_kd.weight" in tensors} if stages else {}
        return told.classifier(tensors) | stages | distilled

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """Levels of integer neurons, time steps of the others. Integer neurons couple no steps: on
        an image more of them repeat the same work, but events are cut into as many.
        """
        if not takes_option(own["neuron"], "levels"):
            return ("time_steps",)
        return ("levels", "time_steps") if own["input_layout"] == "events" else ("levels",)

    def body(self) -> list[tuple[str, nn.Module]]:
        return [(f"stages.{i}", stage) for i, stage in enumerate(self.stages)]

    def head_forward(
        self, pooled: Tensor, pre_logits: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """As the base class; a distilled model in training gives the pair of both heads' logits."""
        spikes = self.head_neuron(
            pooled
        )  # fires even where nothing reads it, as in the releases: rates list it
        features = spikes if self.head_input == "spikes" else pooled
        if pre_logits:
            return features
        if not self.distilled or not self.num_classes:
            return self.head(self.dropped(features))
        pair = self.head(self.dropped(features)), self.head_kd(self.dropped(spikes))
        return pair if self.training else self.mean_of_pair(pair)

    def step_logits(self, frames: Tensor) -> Tensor:
        """As the base class; of a distilled model the mean of both heads, in training too."""
        logits = self.head_forward(self.over_space(self.forward_features(frames)))
        return (self.mean_of_pair(logits) if isinstance(logits, tuple) else logits)[0]

    def mean_of_pair(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.halve(pair[0] + pair[1])

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        """The head; both heads of a distilled model (timm's convention)."""
        return (self.head, self.head_kd) if self.distilled else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, global_pool)
        if self.distilled:
            self.head_kd = classifier(self.num_features, num_classes).to(next(self.parameters()))
        for head in (self.head, getattr(self, "head_kd", None)):
            if isinstance(head, nn.Linear):
                HEAD_INITS[self.head_init](head)

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        """Layer groups: all conv stages, then each attention block with the down-sampling in
        front of it.
        """
        stem = r"^stages\.[0-2]\.|^stages\.3\.down"
        if coarse:
            return {"stem": stem, "blocks": r"^stages\.(\d+)"}
        return {
            "stem": stem,
            "blocks": [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)\.down", (0,))],
        }


def _zero_bias(init: Callable[[Tensor], Tensor]) -> Callable[[nn.Linear], None]:
    def initialise(head: nn.Linear) -> None:
        init(head.weight)
        nn.init.zeros_(head.bias)

    return initialise


#: How classifiers start, in place: V2 and V3 base, V3 Large, HAR-DVS.
HEAD_INITS: dict[str, Callable[[nn.Linear], None]] = {
    "trunc_normal": _zero_bias(partial(nn.init.trunc_normal_, std=0.02)),
    "xavier": _zero_bias(nn.init.xavier_uniform_),
    "default": lambda head: None,
}


def staged_names(word: str, down_word: str | None = None) -> Rules:
    """Ours -> the releases' names, as far as all of them agree. word: what they call a neuron
    ("lif" or "spike"), down_word: what they call it in down-sampling, where that differs.
    """
    return [
        (r"\.branch\b", ""),
        (r"^stages\.0\.down\.(conv|bn)", r"downsample1_1.encode_\1"),
        (r"^stages\.1\.down", "downsample1_2"),
        (r"^stages\.([234])\.down", r"downsample\1"),
        (r"^(downsample\w+)\.project\.(conv|bn)", r"\1.encode_\2"),
        (r"^(downsample\w+)\.neuron", rf"\1.encode_{down_word or word}"),
        (r"^stages\.0\.blocks", "ConvBlock1_1"),
        (r"^stages\.1\.blocks", "ConvBlock1_2"),
        (r"^stages\.2\.blocks\.0\b", "ConvBlock2_1.0"),
        (r"^stages\.2\.blocks\.1\b", "ConvBlock2_2.0"),
        (r"^stages\.([34])\.blocks", r"block\1"),
        (r"^(block\d\.\d+\.attn)\.neuron", rf"\1.head_{word}"),
        (r"^(block\d\.\d+\.attn)\.([qkv])\.neuron", rf"\1.\2_{word}"),
        (r"^(block\d\.\d+\.attn)\.out\.neuron", rf"\1.attn_{word}"),
        (r"^(block\d\.\d+\.attn)\.([qkv])\.project", r"\1.\2_conv"),
        (r"^(block\d\.\d+\.attn)\.out\.project", r"\1.proj_conv"),
        (r"^(block\d\.\d+\.mlp\.fc[12])\.project\.(conv|bn)", r"\1_\2"),
        (r"^(block\d\.\d+\.mlp\.fc[12])\.neuron", rf"\1_{word}"),
        (r"^head_neuron", word),
    ]
