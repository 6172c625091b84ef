"""What data sections of classification have in common, be their samples images or recordings."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from spikedriven.checks import check_numbers, check_whole
from spikedriven.data.contract import DataSection


@dataclass(frozen=True, kw_only=True)
class LabelledSection(DataSection):
    """A sample has one label; samples may be drawn by class, and mixed."""

    task: ClassVar[str] = "classification"

    train_fraction: float = 1.0
    """Share of the samples of each class that is trained on, after val_fraction is set aside; 1:
    all."""
    train_fraction_seed: int = 0
    """Which samples train_fraction keeps; a smaller share is part of a larger one of the same
    seed."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Training. shuffle: each sample once in an epoch. balanced: as many samples, the same number
    of each class; those of small classes come several times, of large ones a part, drawn anew in
    each epoch."""
    aug_repeats: float = 1.0
    """Training: repeated augmentation, so many augmented copies of each sample in a batch. An epoch
    is as long as without, and sees a part of the set."""
    mixup: float = 0.0
    """Alpha of mixup's Beta distribution; 0: no mixup."""
    mixup_off_epoch: int = 0
    """From this epoch on nothing is mixed (targets stay smoothed); 0: always mix."""
    smoothing: float = 0.0
    """Label smoothing s: targets 1 - s + s / K for the label and s / K elsewhere."""

    @property
    def soft_targets(self) -> bool:
        """Whether training targets are float `[B, K]` instead of int64 `[B]`."""
        return self.mixes or self.smoothing > 0

    def _check(self) -> None:
        super()._check()
        check_whole(self, {"train_fraction_seed": 0, "mixup_off_epoch": 0})
        intervals = {
            "train_fraction": "(0, 1]",
            "aug_repeats": "[1, 100]",
            "mixup": "[0, inf)",
            "smoothing": "[0, 1)",
        }
        check_numbers(self, intervals)
