"""What all models of this package have in common: inputs, outputs, streaming, feature maps, the
classifier interface.

A family derives from `SpikeDrivenModel` and lists its body in order (`body`). It says how features
become logits (`head_forward`) where its classifier does not read their means. docs/add_a_family.md
shows one. Tensors inside are [T, B, C, H, W].
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn.functional import dropout

from spikedriven.errors import InputError
from spikedriven.layers.means import SpatialMean, TimeMean
from spikedriven.models import told
from spikedriven.models.official import OfficialNames
from spikedriven.models.recompute import recomputed
from spikedriven.neurons import StreamState, open_stream
from spikedriven.neurons.watch import neurons_of

OUTPUTS = ("mean", "per_step")
INPUT_LAYOUTS = ("image", "events")
#: Of timm's names for how a map becomes a vector: the mean over positions, twice; "": the map
#: stays.
POOLS = ("avg", "fast", "")
#: What a network hands out: logits, or several tensors where its training needs more (two heads,
#: masked pixels).
Logits = Tensor | tuple[Tensor, ...]


class SpikeDrivenModel(nn.Module):
    """Base class of every registered classifier.

    Input: [B, C, H, W] (a static image, shown ``time_steps`` times) or [B, T, C, H, W] (event
    frames; T as given). Output: [B, num_classes], the mean over time; with ``output="per_step"``
    [T, B, num_classes]. Every call starts from neurons at rest; `step` is the explicit alternative.

    num_classes: 0 leaves the classifier out. img_size: height and width of `example_input`; the
    networks themselves take any size.
    input_layout: which of the two inputs the variant was published for.
    drop_rate: share of what the classifier reads that is set to 0 in training. global_pool: "avg",
    the mean over positions ("fast" is timm's other name for it); "", with ``num_classes=0``: the
    output is the last map, mean over time [B, C, H, W].
    """

    def __init__(
        self,
        num_classes: int,
        in_chans: int,
        img_size: int | tuple[int, int],
        time_steps: int,
        output: str,
        input_layout: str,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        if output not in OUTPUTS or input_layout not in INPUT_LAYOUTS:
            raise InputError(
                f"output must be one of {OUTPUTS} and input_layout one of {INPUT_LAYOUTS}, "
                f"found {output!r} and {input_layout!r}"
            )
        for name, value, least in (
            ("num_classes", num_classes, 0),
            ("in_chans", in_chans, 1),
            ("time_steps", time_steps, 1),
        ):
            if not isinstance(value, int) or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, found {value!r}"
                )
        self.num_classes, self.in_chans, self.time_steps = num_classes, in_chans, time_steps
        side = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        self.img_size = cast(tuple[int, int], side)
        self.output, self.input_layout = output, input_layout
        if not 0.0 <= drop_rate < 1.0:
            raise InputError(f"drop_rate must be at least 0 and below 1, found {drop_rate!r}")
        self.drop_rate, self.global_pool = drop_rate, checked_pool(global_pool, num_classes)
        self.grad_checkpointing = False
        self.over_space, self.over_time = SpatialMean(), TimeMean()
        #: One dict per feature map: num_chs, reduction (true stride), module (qualified name).
        self.feature_info: list[dict] = []

    # What a family provides
    # ------------------------------------------------------------------------------------

    def body(self) -> list[tuple[str, nn.Module]]:
        """The modules that turn the input into the last feature map, in order, with their
        qualified names.
        """
        raise NotImplementedError

    #: Whether the classifier reads the mean over time, and not each step: other roundings.
    mean_before_head = False

    def head_forward(self, pooled: Tensor, pre_logits: bool = False) -> Logits:
        """Spatial means [T, B, C] -> logits per step [T, B, K].

        With pre_logits what the classifier would read. Here that is the means themselves.
        """
        return pooled if pre_logits else self.head(self.dropped(pooled))

    def dropped(self, features: Tensor) -> Tensor:
        """What the classifier reads, with ``drop_rate`` in training: a family's `head_forward`
        calls it in front of its classifier.
        """
        return dropout(features, self.drop_rate) if self.training and self.drop_rate else features

    def official_names(self) -> OfficialNames:
        """How the family's release spells the keys of this model's state dict; without one, as
        they are.
        """
        return OfficialNames([])

    @classmethod
    def told_by(cls, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords that a file tells by the names and shapes of its tensors, which are in the
        release's spelling.

        own: the keywords of the registered name; of several values that fit the file, those.
        """
        return told.classifier(tensors)

    @classmethod
    def asks_for(cls, own: Mapping[str, Any]) -> tuple[str, ...]:
        """Keywords that change what a trained network computes, differ between files of one name,
        and leave no trace in their tensors: whoever loads a file must be told them.
        """
        return ("time_steps",)

    # Calling
    # ----------------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Logits:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Public input -> last feature map [T, B, C, H, W], real-valued."""
        x = self.arrange(x)
        for _, module in self.body():
            x = self._through(module, x)
        return x

    def _through(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        return (
            recomputed(module, *inputs)
            if self.grad_checkpointing and torch.is_grad_enabled()
            else module(*inputs)
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Training keeps what enters each module of `body` and computes the rest again on the
        way back.
        """
        self.grad_checkpointing = enable

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Logits:
        """Feature map [T, B, C, H, W] -> output; with ``pre_logits`` the classifier's input,
        mean over time [B, C].
        """
        if not self.global_pool:
            return self.merge_time(x)
        pooled = self.over_space(x)
        if pre_logits:
            return self._time_mean(self.head_forward(pooled, pre_logits=True))
        if self.mean_before_head and self.output == "mean":
            return self.head_forward(self.over_time(pooled))
        return self.merge_time(self.head_forward(pooled))

    def merge_time(self, logits: Logits) -> Logits:
        """Per-step logits [T, B, K] -> what ``output`` asks for."""
        return self._time_mean(logits) if self.output == "mean" else logits

    def _time_mean(self, logits: Logits) -> Logits:
        """The mean over T of [T, ...], or of each of several such tensors."""
        mean = self.over_time
        return tuple(mean(part) for part in logits) if isinstance(logits, tuple) else mean(logits)

    def arrange(self, x: Tensor) -> Tensor:
        """Check a public input and bring it to [T, B, C, H, W]."""
        if x.ndim not in (4, 5) or x.shape[-3] != self.in_chans or not x.is_floating_point():
            raise InputError(
                f"expected a floating point image [B, {self.in_chans}, H, W] or frames [B, T, "
                f"{self.in_chans}, H, W], "
                f"found {x.dtype} {list(x.shape)}"
            )
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            _one_size(x)
        if x.ndim == 5:
            return x.transpose(0, 1)
        return x.unsqueeze(0).expand(self.time_steps, *x.shape)

    def step(self, x: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """One time step: x [B, C, H, W] -> logits of this step [B, K], and the state for the next
        one.

        ``state.logits`` is the mean so far: after T steps, what the model returns for all of them
        at once. InputError for a state that is none, or one of another batch.
        """
        if x.ndim != 4:
            raise InputError(
                f"a step takes one frame [B, {self.in_chans}, H, W], found {list(x.shape)}"
            )
        state = StreamState() if state is None else state
        if not isinstance(state, StreamState):
            raise InputError(
                f"a state is what `step` returned, or None to begin; found {type(state).__name__}"
            )
        state.check_batch(len(x))
        with open_stream(self, state) as membranes:
            logits = self.step_logits(x.unsqueeze(1))
        mean = (
            logits
            if state.logits is None
            else (state.logits * state.steps + logits) / (state.steps + 1)
        )
        return logits, StreamState(membranes, state.steps + 1, mean)

    def step_logits(self, frames: Tensor) -> Tensor:
        """Logits [B, K] of one step from frames [B, 1, C, H, W]."""
        return self.head_forward(self.over_space(self.forward_features(frames)))[0]

    def example_input(self, batch_size: int = 1) -> Tensor:
        """Zeros of the shape this variant was made for, in the dtype and on the device of its
        weights.
        """
        steps = (self.time_steps,) if self.input_layout == "events" else ()
        weight = next(p for p in self.parameters())
        return weight.new_zeros(batch_size, *steps, self.in_chans, *self.img_size)

    # Feature maps (timm's protocol)
    # -------------------------------------------------------------------------------

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        merge_time: bool = True,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Feature maps by index into ``feature_info`` (negative and None as in timm), [B, C, H, W]
        each.

        merge_time: mean over T; False keeps [T, B, C, H, W]. norm is accepted for timm's sake and
        must stay False: these networks have no final norm.
        """
        if norm or output_fmt != "NCHW":
            raise InputError(
                "these models have no final norm and give NCHW maps: use norm=False, "
                "output_fmt='NCHW'"
            )
        take, last = _take_indices(len(self.feature_info), indices)
        names = [info["module"] for info in self.feature_info]
        maps, x = {}, self.arrange(x)
        for name, module in self.body():
            x = self._through(module, x)
            if name in names:
                maps[names.index(name)] = x
            if stop_early and intermediates_only and last in maps:
                break
        taken = [maps[i].mean(0) if merge_time else maps[i] for i in take]
        return taken if intermediates_only else (x, taken)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what lies behind the last wanted feature map. Returns the indices, none negative."""
        take, last = _take_indices(len(self.feature_info), indices)
        if prune_head:
            self.reset_classifier(0)
        names = [name for name, _ in self.body()]
        self.drop_after(names[names.index(self.feature_info[last]["module"]) + 1 :])
        return take

    def drop_after(self, names: list[str]) -> None:
        """Replace body modules, given by qualified name, by the identity."""
        for name in names:
            parent, _, child = name.rpartition(".")
            setattr(self.get_submodule(parent), child, nn.Identity())

    # Classifier (timm's protocol)
    # ---------------------------------------------------------------------------------

    @property
    def num_features(self) -> int:
        """Channels of the last feature map."""
        return self.feature_info[-1]["num_chs"]

    @property
    def head_hidden_size(self) -> int:
        """Channels that the classifier reads."""
        return self.num_features

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier for ``num_classes`` (0: none), in the dtype and on the device of the
        weights.
        """
        pool = self.global_pool if global_pool is None else global_pool
        self.global_pool = checked_pool(pool, num_classes)
        self.num_classes = num_classes
        like = next(p for p in self.parameters())
        self.head = classifier(self.num_features, num_classes).to(like.device, like.dtype)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone whatever their shape: those of
        neurons.
        """
        own = {p for neuron in neurons_of(self).values() for p in neuron.parameters()}
        return {name for name, parameter in self.named_parameters() if parameter in own}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layer groups for layer-wise learning rate decay: what comes before the blocks, then
        block by block.
        """
        return {"stem": r"^(?!blocks|head)", "blocks": r"^blocks" if coarse else r"^blocks\.(\d+)"}


def _one_size(x: Tensor) -> None:
    """Tell torch.compile to compile anew for each image size: its convolutions with a size left
    open fail to compile (PyTorch 2.14: an InductorError already for one ``nn.Conv2d`` that is
    trained). The batch may vary.
    """
    for axis in (x.ndim - 2, x.ndim - 1):
        torch._dynamo.mark_static(x, axis)


def _take_indices(maps: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    return feature_take_indices(maps, indices)  # type: ignore[arg-type]  # timm's annotation knows lists only


def checked_pool(global_pool: str, num_classes: int) -> str:
    """The name, if it is of `POOLS`. InputError for another one, and for a classifier without
    pooling.
    """
    if global_pool not in POOLS:
        raise InputError(
            f"global_pool {global_pool!r}: these networks average over positions; expected one of "
            f"{POOLS}"
        )
    if not global_pool and num_classes:
        raise InputError(
            "global_pool '' leaves the map as it is, which no classifier reads: give num_classes=0 "
            "too"
        )
    return global_pool


def check_width(embed_dim: int, depth: int) -> None:
    """Of families of one width, whose stem has an eighth of it. InputError."""
    if embed_dim % 8 or depth < 1:
        found = f"found {embed_dim} and {depth}"
        raise InputError(f"embed_dim must be a multiple of 8 and depth at least 1, {found}")


def classifier(features: int, num_classes: int) -> nn.Module:
    """Linear layer, or the identity for num_classes 0."""
    return nn.Linear(features, num_classes) if num_classes else nn.Identity()


def feature_maps(names: Sequence[str], widths: Sequence[int], strides: Sequence[int]) -> list[dict]:
    """``feature_info``: one entry for each of these modules of the body."""
    return [
        {"num_chs": width, "reduction": stride, "module": name}
        for name, width, stride in zip(names, widths, strides, strict=True)
    ]
