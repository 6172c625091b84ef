"""What a masked autoencoder makes of an image: picture, masked, predicted, and pasted together."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikedriven.data.config import DataConfig
from spikedriven.models.spike_mae import SpikeMAE
from spikedriven.report.images import picture
from spikedriven.runs.distributed import World
from spikedriven.tasks.pretraining import MaskedError, evaluation_noise, masked_errors

#: What stands for hidden pixels: middle grey, as the literature draws them.
HIDDEN = 128
#: What the four pictures are, for whoever sees them for the first time.
LEGEND = (
    "Masked: what the network sees; hidden patches are grey. Predicted: every patch as the decoder "
    "gives it; the loss looks at hidden ones only. Pasted: the predicted patches where they were "
    "hidden, the picture elsewhere. The network predicts normalised pixels; mean and contrast of "
    "each predicted patch are taken from the picture."
)
#: Of networks with `permute_tokens`, the release's default.
PERMUTED = (
    "This decoder gets its tokens in a random order, as the release's does, so it cannot know "
    "which "
    "patch is which (--model.args.permute_tokens false puts that right)."
)


@dataclass(frozen=True)
class Reconstruction:
    """panels: (title, uint8 [H, W, 3]). error: of the hidden patches. patches: of the whole
    image.
    """

    panels: list[tuple[str, np.ndarray]]
    error: MaskedError
    patches: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; explained is None where the hidden patches are plain areas."""
        explained = None if math.isnan(self.error.explained) else self.error.explained
        of = {"hidden": self.error.hidden, "patches": self.patches}
        return {"loss": self.error.loss, "explained": explained, **of}


def reconstruct(
    model: SpikeMAE,
    image: Tensor,
    data: DataConfig,
    seed: int = 0,
    index: int = 0,
) -> Reconstruction:
    """Hide patches of one image and predict them. The model is in evaluation mode.

    image: [1, C, H, W] as the network reads it; data: how it was normalised. seed, index: of the
    mask; a run's seed and an image's place in its split give the mask of evaluation.
    """
    noise = evaluation_noise(model, seed, [index]).to(image.device)
    with torch.inference_mode():
        result = model(image, noise)
        hidden = model.hidden_pixels(result.mask)[0, 0].cpu().numpy()
        predicted = model.pixels(result.prediction, image)
        rows = masked_errors(model, image, noise)
    original, guess = (_drawn(pixels[0], data) for pixels in (image, predicted))
    inside = hidden[..., None]
    panels = [
        ("picture", original),
        ("masked", np.where(inside, np.uint8(HIDDEN), original)),
        ("predicted", guess),
        ("pasted", np.where(inside, guess, original)),
    ]
    alone = World(0, 1, rows.device)
    return Reconstruction(panels, MaskedError.of(rows, alone), result.mask.shape[1])


def _drawn(pixels: Tensor, data: DataConfig) -> np.ndarray:
    return picture(pixels, *data.normalization())
