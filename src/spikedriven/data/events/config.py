"""What a recipe says about event recordings: how they become frames, how those are augmented.

Sets with options of their own derive their data section from one of these, beside their reader.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from spikedriven.checks import check_numbers, check_whole, refuse
from spikedriven.data.contract import DataSet
from spikedriven.data.labelled import LabelledSection


@dataclass(frozen=True, kw_only=True)
class EventDataConfig(LabelledSection):
    """The data section of a recipe for event cameras, of sets that come as frames. A value that
    cannot be used raises RecipeError naming the field.

    A sample is frames [T, 2, H, W]: channel 0 of OFF events, channel 1 of ON events.
    """

    time_steps: int = 10
    """Frames of a sample, T."""
    img_size: int = 128
    """Side of the square frames that the network sees; frames of another size are resized
    (bilinear).
    """

    hflip: float = 0.0
    """Training: probability of a horizontal flip; like every transform one draw for all steps
    of a clip.
    """
    roll: int = 0
    """Training: largest cyclic shift along each axis, pixels."""
    rotation: float = 0.0
    """Training: largest rotation, degrees."""
    shear: float = 0.0
    """Training: largest horizontal shear, as a tangent."""
    cutout: int = 0
    """Training: side of one square that is emptied, pixels; 0: off."""
    snn_augment: bool = False
    """Training: one of six, equally likely: nothing, shear up to 0.3 radians, shift up to 5 pixels
    along x or y, rotation up to 30 degrees, an erased square of up to 11 % of the area (the
    Spikingformer release; that of SDT has the first five, behind a flag).
    """
    event_mix: float = 0.0
    """Alpha of the Beta distribution of EventMix, which mixes regions of two clips in time and
    space; 0: off.
    """
    event_mix_prob: float = 0.5
    """Probability that a batch is mixed by EventMix (mixup then leaves it alone)."""
    mixup_prob: float = 1.0
    """Probability that a batch is mixed, when mixup is on."""

    shuffle_steps: bool = False
    """Put each clip's steps into a random order, in training and evaluation: a control in which
    there is no time.
    """

    @classmethod
    def for_network(
        cls,
        entry: DataSet,
        *,
        img_size: int,
        in_chans: int,
        time_steps: int,
        crop_pct: float,
        **fields: Any,
    ) -> Self:
        """As many frames of its size as a network has time steps."""
        return cls(dataset=entry.name, img_size=img_size, time_steps=time_steps, **fields)

    @property
    def in_chans(self) -> int:
        """OFF and ON."""
        return 2

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std): frames reach the network as they are."""
        return (0.0, 0.0), (1.0, 1.0)

    @property
    def mixes(self) -> bool:
        """Whether any batch can be mixed; batches then need an even number of clips."""
        return self.mixup > 0 or self.event_mix > 0

    @property
    def one_flip_per_clip(self) -> bool:
        """Whether hflip is drawn once for all frames of a clip."""
        return True

    @property
    def antialiased(self) -> bool:
        """Whether frames of another size are resized without aliasing."""
        return False

    def _check(self) -> None:
        super()._check()
        check_whole(self, {"time_steps": 1, "img_size": 1, "roll": 0, "cutout": 0})
        check_numbers(self, dict.fromkeys(("hflip", "mixup_prob", "event_mix_prob"), "[0, 1]"))
        check_numbers(self, {"rotation": "[0, 180]", "shear": "[0, 10]", "event_mix": "[0, inf)"})


@dataclass(frozen=True, kw_only=True)
class FramedEventConfig(EventDataConfig):
    """The data section of a set that comes as streams of events, which are made into frames
    here.
    """

    split_by: Literal["number", "time"] = "number"
    """number: each step gets the same number of events, the last one the rest too. time: each the
    same time."""
    step_us: int | None = None
    """split_by time: microseconds of each step; what comes after T steps is left out. Default:
    duration / T."""
    values: Literal["count", "binary"] = "count"
    """A pixel of a frame is its number of events, or 1 where there is any."""
    antialias: bool = False
    """Resize as an image is made smaller, without aliasing. False, as in the releases: plain
    interpolation."""
    cache: bool = True
    """Keep the frames of each recording on disk, in the sensor's size, and read those from the
    second time on."""
    cache_dir: Path | None = None
    """Where; default: spikedriven-frames/ in the data folder."""

    @property
    def antialiased(self) -> bool:
        """As the field says."""
        return self.antialias

    def clip_time(self) -> tuple[int | None, int | None]:
        """Where the first step of a clip begins and how long a step is, microseconds; None: the
        recording decides."""
        return None, self.step_us

    def sensor_size(self) -> tuple[int | None, int | None]:
        """Rows and columns, where a file does not say them: of the DVS128, with which the published
        sets of this kind were recorded."""
        return 128, 128

    def unkept(self) -> Self:
        """Without the frame cache."""
        return dataclasses.replace(self, cache=False)

    def _check(self) -> None:
        super()._check()
        check_whole(self, {"step_us": 1})
        if self.step_us is not None and self.split_by != "time":
            refuse(
                "step_us", self.step_us, "nothing: only split_by time has steps of a given duration"
            )
