"""Starting weights (`model.init`): what a run takes from another run or from a file, and what
it could not take.
"""

from pathlib import Path

from torch import nn

from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.authors import stored_file
from spikedriven.models.containers import Packed, read_packed
from spikedriven.models.create import is_dense
from spikedriven.models.dense_keywords import BODY, DEFAULT_BODY, body_keywords
from spikedriven.models.header import Provenance
from spikedriven.models.official import LoadReport, bytes_of, load_packed, shared_keys
from spikedriven.models.pretrained import pretrained_names, weights_of
from spikedriven.models.registry import list_models
from spikedriven.models.tags import list_files, stated_by
from spikedriven.recipes.types import Recipe
from spikedriven.runs.checkpoint import read_run
from spikedriven.runs.identify import asks_for, own_keywords, question
from spikedriven.runs.networks import TIMM
from spikedriven.runs.provenance import of_recipe, read_provenance


def check_told(recipe: Recipe) -> None:
    """InputError where neither `model.init`, a file of weights, nor the recipe says what no shape
    tells (levels, time steps, heads): the weights would start another network than the one that
    they were trained in.

    The recipe's own words decide, also against what is written beside the weights: it may go on
    with more time steps. A detector or a segmenter that starts from a classifier's weights is asked
    what its body's family asks for.
    """
    source, name = recipe.model.init or "", recipe.model.name
    path = weights_file(source)
    if path is None or name.startswith(TIMM):
        return
    base, tagged = stated_by(name)
    said = tagged | of_recipe(recipe, "the recipe").args
    beside = _beside(source, path)
    within = ""
    if is_dense(base) and not (beside is not None and is_dense(beside.name)):
        base, said, within = said.get("backbone", DEFAULT_BODY), body_keywords(said), f"{BODY}."
    own = own_keywords(base) | said
    known = {} if beside is None else beside.args
    open_ = [key for key in asks_for(base, own) if key not in said]
    missing = [key for key in open_ if key not in known or known[key] != own.get(key)]
    if missing:
        asked = question(f"model.init {path}", base, missing, said, within)
        there = [
            f"{beside.where} says {key} {known[key]}"
            for key in missing
            if beside is not None and key in known
        ]
        raise InputError("\n".join([asked, *there]))


def start_from(model: nn.Module, source: str, strict: bool = True) -> LoadReport:
    """Load starting weights into `model`, in place.

    source: a run folder, RUN/best or a checkpoint folder (the averaged weights where the run kept
    an average), a weights file in our key names or the authors', or a name: of a network whose
    weights ship, or NAME.TAG of a file that `spikedriven fetch` has stored. strict: every weight of
    the model, and no other, must be in it. Otherwise what fits in name and shape is taken: e.g. the
    encoder of a masked autoencoder for a classifier, whose blocks have the same names.
    CheckpointError if that is nothing at all.

    A model with an attribute ``encoder`` (detectors, segmenters) takes the weights of a classifier
    into that.
    """
    path = Path(source)
    try:
        if path.is_dir() or path.name == "best":
            _, weights, folder = read_run(path)
            packed = Packed(weights, str(folder))
        else:
            packed = read_packed(weights_file(source) or path, needed=bytes_of(model))
        report = load_packed(_part(model, packed), packed, strict)
    except CheckpointError as error:
        raise CheckpointError(
            f"model.init {source}: {error}\nTo take what fits: --model.init-strict false"
        ) from error
    if not report.loaded:
        raise CheckpointError(
            f"model.init {source}: none of its {len(report.unexpected)} tensors fits this model"
        )
    return report


def weights_file(source: str) -> Path | None:
    """The file that `model.init` names: a path, the shipped weights of a registered name, or the
    stored file NAME.TAG. None for a run, and for a path where there is nothing.

    InputError for a registered name without weights, and for a tag whose file was not fetched.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.exists() or path.name == "best" or "/" in source or not _is_name(source):
        return None
    if "." in source:
        return stored_file(source)
    shipped = weights_of(source)
    if shipped is None:
        raise InputError(
            f"model.init {source}: no weights of this network ship (of "
            f"{', '.join(pretrained_names())} "
            "they do); name a fetched file NAME.TAG, a run folder, or a file of weights"
        )
    return shipped


def _is_name(source: str) -> bool:
    """Whether it is a registered name, or one of a published file."""
    return source in list_models() or any(file.full_name == source for file in list_files())


def _beside(source: str, path: Path) -> Provenance | None:
    """What is written about the weights; those that ship are for the name as it is."""
    if weights_of(source) == path:
        return Provenance(source, args=own_keywords(source), where=f"the name {source}")
    return read_provenance(path)


def _part(model: nn.Module, packed: Packed) -> nn.Module:
    """The model, or its encoder where the weights have more names in common with that."""
    encoder = getattr(model, "encoder", None)
    if encoder is None or shared_keys(model, packed) >= shared_keys(encoder, packed):
        return model
    return encoder
