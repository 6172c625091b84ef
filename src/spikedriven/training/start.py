"""Starting weights (`model.init`): what a run takes from another run or from a file, and what it could not take."""

from pathlib import Path

from torch import nn

from spikedriven.errors import CheckpointError
from spikedriven.models.containers import Packed, read_packed
from spikedriven.models.official import LoadReport, bytes_of, load_packed, shared_keys
from spikedriven.training.checkpoint import read_run


def start_from(model: nn.Module, source: str, strict: bool = True) -> LoadReport:
    """Load starting weights into `model`, in place.

    source: a run folder, RUN/best or a checkpoint folder (the averaged weights where the run kept an average), or a
    weights file in our key names or the authors'. strict: every weight of the model, and no other, must be in it.
    Otherwise what fits in name and shape is taken: e.g. the encoder of a masked autoencoder for a classifier, whose
    blocks have the same names. CheckpointError if that is nothing at all.

    A model with an attribute ``encoder`` (detectors, segmenters) takes the weights of a classifier into that.
    """
    path = Path(source)
    try:
        if path.is_dir() or path.name == "best":
            _, weights, folder = read_run(path)
            packed = Packed(weights, str(folder))
        else:
            packed = read_packed(path, needed=bytes_of(model))
        report = load_packed(_part(model, packed), packed, strict)
    except CheckpointError as error:
        raise CheckpointError(
            f"model.init {source}: {error}\nIn a recipe: model.init_strict: false"
        ) from error
    if not report.loaded:
        raise CheckpointError(
            f"model.init {source}: none of its {len(report.unexpected)} tensors fits this model"
        )
    return report


def _part(model: nn.Module, packed: Packed) -> nn.Module:
    """The model, or its encoder where the weights have more names in common with that."""
    encoder = getattr(model, "encoder", None)
    if encoder is None or shared_keys(model, packed) >= shared_keys(encoder, packed):
        return model
    return encoder
