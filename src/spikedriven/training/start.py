"""Starting weights (`model.init`): what a run takes from another run or from a file, and what it could not take."""

import dataclasses
from pathlib import Path

from torch import nn

from spikedriven.errors import CheckpointError
from spikedriven.models.official import LoadReport, load_official
from spikedriven.training.checkpoint import read_run


def start_from(model: nn.Module, source: str, strict: bool = True) -> LoadReport:
    """Load starting weights into `model`, in place.

    source: a run folder, RUN/best or a checkpoint folder (the averaged weights where the run kept an average), or a
    weights file in our key names or the authors'. strict: every weight of the model, and no other, must be in it.
    Otherwise what fits in name and shape is taken: e.g. the encoder of a masked autoencoder for a classifier, whose
    blocks have the same names. CheckpointError if that is nothing at all.
    """
    path = Path(source)
    try:
        if path.is_dir() or path.name == "best":
            _, weights, folder = read_run(path)
            report = dataclasses.replace(load_official(model, weights, strict), container=str(folder))
        else:
            report = load_official(model, path, strict)
    except CheckpointError as error:
        raise CheckpointError(f"model.init {source}: {error}\nIn a recipe: model.init_strict: false") from error
    if not report.loaded:
        raise CheckpointError(f"model.init {source}: none of its {len(report.unexpected)} tensors fits this model")
    return report
