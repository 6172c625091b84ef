"""Keywords of `create_segmenter`, one dataclass per kind of segmenter."""

import dataclasses
from typing import Any

from spikedriven.errors import InputError
from spikedriven.models.dense_keywords import DEFAULT_BODY, check_types
from spikedriven.models.detection.parts import MODES
from spikedriven.models.segmentation.semantic_fpn import UPSAMPLINGS
from spikedriven.neurons import NeuronChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmenterOptions:
    """What every segmenter understands."""

    backbone: str = DEFAULT_BODY
    """A registered model name."""
    num_classes: int = 150
    """Classes of pixels."""
    mode: str = "corrected"
    """"corrected", or "released": as the authors' code builds it (docs/segmentation.md says
    what differs).
    """
    backbone_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of the backbone."""
    out_indices: tuple[int, ...] | None = None
    """Taps, into the backbone's feature_info. None: those of the published networks."""
    keep_time: bool = False
    """Keep T in neck and head and average the logits, as SDT-V2's segmenters do. False: average
    the taps.
    """
    neuron: NeuronChoice = "integer"
    """A registered neuron, for neck and head."""
    levels: int = 4
    """D of integer neurons."""
    tau: float = 2.0
    """Of LIF neurons."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.mode not in MODES:
            raise InputError(f"mode must be one of {MODES}, found {self.mode!r}")
        self._at_least(1, "num_classes", "levels")

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, found {getattr(self, name)}")

    @property
    def released(self) -> bool:
        return self.mode == "released"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticFPNOptions(SegmenterOptions):
    """Of "semantic_fpn". Its taps: of each stride the last map, at most the four coarsest."""

    width: int = 128
    """Channels of pyramid and head."""
    upsampling: str | None = None
    """Inside the head: "nearest" or "bilinear". None: by the mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "width")
        if self.upsampling not in (None, *UPSAMPLINGS):
            raise InputError(f"upsampling must be one of {UPSAMPLINGS}, found {self.upsampling!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FCNOptions(SegmenterOptions):
    """Of "fcn". Its tap: the last map."""

    convs: int = 0
    """3x3 convolutions in front of the classifier."""
    width: int | None = None
    """Their channels. None: those of the tap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "convs")
        if self.width is not None:
            self._at_least(1, "width")
