"""Everything a recipe says about its event recordings: which set, how they become frames, how those are augmented."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spikedriven.errors import InputError, RecipeError

#: What makes frames of events, and keeps them: of no use for a set that comes as pictures.
FRAMING = ("split_by", "step_us", "values", "antialias", "cache_dir")


@dataclass(frozen=True, kw_only=True)
class EventDataConfig:
    """The data part of a recipe for event cameras. A value that cannot be used raises RecipeError naming the field.

    A sample is frames [T, 2, H, W]: channel 0 of OFF events, channel 1 of ON events.
    """

    dataset: str
    """Name of the event set; `spikedriven data` lists them."""
    root: Path | None = None
    """Data folder; default: the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven."""
    split: str = "seeded"
    """cifar10-dvs, which has no official split. seeded: the list that ships with this package;
    authors: the first 90 % of each class train, as in the releases; else a text file with the names
    of the test recordings, one a line."""
    class_order: Literal["by_number", "as_text"] = "by_number"
    """dvs128-gesture: which output is which gesture. by_number: gestures 1 to 11, as the set
    numbers them. as_text: 0, 1, 10, 2, ..., as SpikingJelly sorts its folders, and as every file of
    the releases has its outputs."""
    val_fraction: float = 0.0
    """Share of the train recordings held out as split "val", the same for every seed; 0: none."""
    train_fraction: float = 1.0
    """Share of the recordings of each class that is trained on, after val_fraction is set aside; 1: all."""
    train_fraction_seed: int = 0
    """Which recordings train_fraction keeps; a smaller share is part of a larger one of the same seed."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Training. shuffle: each clip once in an epoch. balanced: as many clips, the same number of
    each class; those of small classes come several times, of large ones a part, drawn anew in each
    epoch."""
    aug_repeats: float = 1.0
    """Training: repeated augmentation, so many augmented copies of each clip in a batch. An epoch
    is as long as without, and sees a part of the set."""
    skip_broken: bool = True
    """Replace an unreadable train recording by the next one and count it; False: stop. Evaluation always stops."""
    workers: int = 2
    """Loading processes per training process; 0: load in the training process. Does not change any batch."""

    time_steps: int = 10
    """Frames of a sample, T."""
    split_by: Literal["number", "time"] = "number"
    """number: each step gets the same number of events, the last one the rest too. time: each the same time."""
    step_us: int | None = None
    """split_by time: microseconds of each step; what comes after T steps is left out. Default: duration / T."""
    values: Literal["count", "binary"] = "count"
    """A pixel of a frame is its number of events, or 1 where there is any."""
    img_size: int = 128
    """Side of the square frames that the network sees; frames of another size are resized (bilinear)."""
    antialias: bool = False
    """Resize as an image is made smaller, without aliasing. False, as in the releases: plain interpolation."""
    cache: bool = True
    """Keep the frames of each recording on disk, in the sensor's size, and read those from the second time on. The
    pictures of har-dvs are not kept a second time."""
    cache_dir: Path | None = None
    """Where; default: spikedriven-frames/ in the data folder."""

    hflip: float = 0.0
    """Training: probability of a horizontal flip; like every transform one draw for all steps of a clip."""
    roll: int = 0
    """Training: largest cyclic shift along each axis, pixels."""
    rotation: float = 0.0
    """Training: largest rotation, degrees."""
    shear: float = 0.0
    """Training: largest horizontal shear, as a tangent."""
    cutout: int = 0
    """Training: side of one square that is emptied, pixels; 0: off."""
    snn_augment: bool = False
    """Training: one of six, equally likely: nothing, shear up to 0.3 radians, shift up to 5 pixels along x or y,
    rotation up to 30 degrees, an erased square of up to 11 % of the area (the Spikingformer release; that of SDT has
    the first five, behind a flag)."""
    event_mix: float = 0.0
    """Alpha of the Beta distribution of EventMix, which mixes regions of two clips in time and space; 0: off."""
    event_mix_prob: float = 0.5
    """Probability that a batch is mixed by EventMix (mixup then leaves it alone)."""
    mixup: float = 0.0
    """Alpha of mixup's Beta distribution; 0: no mixup."""
    mixup_prob: float = 1.0
    """Probability that a batch is mixed, when mixup is on."""
    mixup_off_epoch: int = 0
    """From this epoch on nothing is mixed (targets stay smoothed); 0: always mix."""
    smoothing: float = 0.0
    """Label smoothing s: targets 1 - s + s / K for the label and s / K elsewhere."""

    shuffle_steps: bool = False
    """Put each clip's steps into a random order, in training and evaluation: a control in which there is no time."""

    labels: Literal["garment", "direction"] = "garment"
    """fashion-events: what a clip is labelled with; direction (of motion) needs time."""
    pictures: Literal["fashion-mini", "fashion-mnist"] = "fashion-mini"
    """fashion-events: the pictures that the simulated sensor is shown."""
    simulation_seed: int = 0
    """fashion-events: of the sensor's pixels, the paths and the noise, whatever the seed of the run is."""

    frame_order: Literal["sorted", "directory"] = "sorted"
    """har-dvs. directory: the order of the file system, which is what the release reads."""
    eval_window: Literal["centre", "random"] = "centre"
    """har-dvs: which T consecutive frames are evaluated. random: as the release, but drawn from the clip's number."""
    flip_each_frame: bool = False
    """har-dvs: draw hflip anew for every frame of a clip, as the release does."""

    def __post_init__(self) -> None:
        from spikedriven.data.events.registry import (
            find_event_set,
        )  # the registry's sets read this configuration

        try:
            entry = find_event_set(self.dataset)
        except InputError as error:
            raise RecipeError(f"dataset: {error}") from error
        self._check_counts()
        self._check_shares()
        self._check_choices()
        self._check_split_and_classes(entry.splits, entry.class_orders)
        if entry.pictures:
            self._check_nothing_is_framed()
        if self.labels == "direction":
            self._check_direction()

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
    def soft_targets(self) -> bool:
        """Whether training targets are float `[B, K]` instead of int64 `[B]`."""
        return self.mixes or self.smoothing > 0

    def _check_counts(self) -> None:
        for field, least in {
            "workers": 0, "time_steps": 1, "img_size": 1, "roll": 0, "cutout": 0, "mixup_off_epoch": 0,
            "train_fraction_seed": 0, "step_us": 1, "simulation_seed": 0,
        }.items():  # fmt: skip
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < least):
                _refuse(field, value, f"a whole number of at least {least}")
        if self.step_us is not None and self.split_by != "time":
            _refuse(
                "step_us", self.step_us, "nothing: only split_by time has steps of a given duration"
            )

    def _check_shares(self) -> None:
        for field in ("hflip", "mixup_prob", "event_mix_prob", "smoothing", "val_fraction"):
            if not 0.0 <= getattr(self, field) <= 1.0 or (
                field == "val_fraction" and self.val_fraction == 1.0
            ):
                _refuse(field, getattr(self, field), "a number from 0 to 1")
        if not 1.0 <= self.aug_repeats <= 100.0:
            _refuse("aug_repeats", self.aug_repeats, "a number from 1 to 100")
        if not 0.0 < self.train_fraction <= 1.0:
            _refuse("train_fraction", self.train_fraction, "0 < train_fraction <= 1")
        for field, largest in (
            ("rotation", 180.0),
            ("shear", 10.0),
            ("mixup", float("inf")),
            ("event_mix", float("inf")),
        ):
            if not 0.0 <= getattr(self, field) <= largest:
                _refuse(field, getattr(self, field), f"a number from 0 to {largest:g}")

    def _check_choices(self) -> None:
        for field, choices in {
            "class_order": ("by_number", "as_text"),
            "sampling": ("shuffle", "balanced"),
            "split_by": ("number", "time"),
            "values": ("count", "binary"),
            "labels": ("garment", "direction"),
            "pictures": ("fashion-mini", "fashion-mnist"),
            "frame_order": ("sorted", "directory"),
            "eval_window": ("centre", "random"),
        }.items():
            if getattr(self, field) not in choices:
                _refuse(field, getattr(self, field), f"one of {', '.join(choices)}")

    def _check_split_and_classes(
        self, splits: tuple[str, ...], class_orders: tuple[str, ...]
    ) -> None:
        """splits, class_orders: those that the set has to choose from; none where it has one."""
        if self.split not in ("seeded", "authors"):
            names = "seeded, authors or a text file (.txt) with the names of the test recordings"
            if not splits:
                _refuse("split", self.split, f"no file of names: {self.dataset} has a test part")
            if not Path(self.split).suffix:
                _refuse("split", self.split, names)
        if not class_orders and self.class_order != "by_number":
            _refuse("class_order", self.class_order, f"by_number: {self.dataset} has one order")

    def _check_nothing_is_framed(self) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in FRAMING:
            if getattr(self, name) != defaults[name]:
                _refuse(
                    name,
                    getattr(self, name),
                    f"nothing: {self.dataset} comes as pictures, which are its frames",
                )

    def _check_direction(self) -> None:
        """No step may hold parts of two places, which would show a direction by itself, and nothing may turn it."""
        if self.dataset != "fashion-events":
            _refuse("labels", self.labels, "garment: only clips of fashion-events have a direction")
        if (
            self.split_by != "time"
            or self.time_steps not in (8, 16, 24, 48)
            or self.step_us not in (None, self._span)
        ):
            found = f"{self.split_by}, time_steps {self.time_steps}, step_us {self.step_us}"
            _refuse(
                "split_by",
                found,
                "for labels direction: time, with time_steps 8, 16, 24 or 48 over the 300 ms",
            )
        for field in ("hflip", "rotation", "shear", "snn_augment"):
            if getattr(self, field):
                _refuse(field, getattr(self, field), "0 for labels direction, which it would turn")

    @property
    def _span(self) -> int:
        """Microseconds of a step in equal parts of a clip of fashion-events."""
        return 300_000 // self.time_steps


def _refuse(field: str, value: Any, expected: str) -> None:
    raise RecipeError(f"{field}: found {value!r}, expected {expected}")
