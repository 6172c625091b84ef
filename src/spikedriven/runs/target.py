"""A network by the name that a user gives: a run, or a registered model with or without a
checkpoint.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from spikedriven.data import DataConfig, chosen_labels, evaluation_config
from spikedriven.errors import InputError
from spikedriven.models.authors import AUTHORS, stored_file
from spikedriven.models.containers import Weights, read_packed
from spikedriven.models.create import check_name, create_network
from spikedriven.models.detection import Detector
from spikedriven.models.official import LoadReport, bytes_of, load_packed, their_tensors
from spikedriven.models.pretrained import weights_of
from spikedriven.models.segmentation import Segmenter
from spikedriven.models.tags import PublishedFile, find_file
from spikedriven.runs.checkpoint import load_run
from spikedriven.runs.dense import dense_data, prepared
from spikedriven.runs.identify import GIVEN, identify
from spikedriven.runs.provenance import read_provenance

logger = logging.getLogger(__name__)
#: `Target.weights` in the words of `load_run`.
AVERAGE: dict[Weights, bool | None] = {"auto": None, "averaged": True, "trained": False}


@dataclass(frozen=True)
class Target:
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """A run folder, RUN/best, a checkpoint folder of a run, a registered model name, or
    NAME.TAG.
    """
    checkpoint: Path | None = None
    """Weights for a model name: a file in the authors' key names or in ours, or the word authors,
    for what `spikedriven fetch NAME.TAG` has stored. Default: those that ship with the package,
    else random ones.
    """
    weights: Weights = "auto"
    """Trained or averaged weights (EMA), where there are both. auto: of a run the average, if it
    kept one; of a checkpoint the trained ones.
    """
    num_classes: int | None = None
    """Classes of a model given by name. Default: those of the checkpoint, else the variant's."""
    img_size: int | None = None
    """Side of the network input of a model given by name. Default: what the variant was made
    for.
    """
    time_steps: int | None = None
    """Time steps of a model given by name. With a checkpoint: where neither a tag nor the file
    says them.
    """
    model_args: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """Keywords of a model given by name; on the command line --model.args.KEY VALUE."""


@dataclass(frozen=True)
class LabelledTarget(Target):
    """For commands that compare with labels or name classes."""

    data_split: str | None = None
    """cifar10-dvs, which has no official split: authors, seeded, or a text file with the names of
    the test recordings. Default: the run's, or the tag's."""
    class_order: Literal["by_number", "as_text"] | None = None
    """dvs128-gesture: which output is which gesture. as_text: files of the releases. Default: the
    run's, or the tag's."""


@dataclass(frozen=True)
class Loaded:
    """model: in evaluation mode. trained: not random weights. data: of the run; None for a model
    name.

    Of a model name: full_name, NAME or NAME.TAG; keywords: what it was built with beside the name's
    own; origins: who said each of them; report: what was loaded from a checkpoint; notes: what the
    reader must know.
    """

    model: Any
    trained: bool
    data: Any
    full_name: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    report: LoadReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> PublishedFile | None:
        """The published file that the tag names, if there is a tag."""
        return find_file(self.full_name) if "." in self.full_name else None


def is_model_name(target: str) -> bool:
    """Whether a user means a registered model, not a path. InputError for a name that is
    neither.
    """
    if Path(target).exists() or "/" in target:
        return False
    check_name(target)
    return True


def load_target(target: Target, device: str = "cpu") -> Loaded:
    """Build the network that the command line names. device "meta": shapes only, for a name without
    checkpoint.

    Which network a checkpoint belongs to is found by `identify`; InputError where it does not tell
    and nobody said it.
    """
    given = given_keywords(target)
    if not is_model_name(target.target):
        if target.checkpoint is not None or given:
            options = "--checkpoint, --num-classes, --img-size, --time-steps and --model.args.KEY"
            raise InputError(f"{options} go with a model name, not with a run")
        model, recipe = load_run(target.target, ema=AVERAGE[target.weights])
        return Loaded(model.eval(), True, recipe.data)
    if target.checkpoint is not None:
        path = (
            stored_file(target.target) if target.checkpoint == Path(AUTHORS) else target.checkpoint
        )
        return load_checkpoint(target.target, path, given, target.weights)
    if target.weights != "auto":
        raise InputError("--weights goes with a run, or with --checkpoint")
    ships = (
        device == "cpu"
        and not given.keys() - {"img_size"}
        and weights_of(target.target) is not None
    )
    with torch.device(device):
        model = create_network(target.target, **({"pretrained": True} if ships else {}), **given)
    return Loaded(model.eval(), ships, None, target.target, given, dict.fromkeys(given, GIVEN))


def load_checkpoint(
    full_name: str, path: Path, given: Mapping[str, Any], weights: Weights = "auto"
) -> Loaded:
    """The network that a file of weights belongs to, with these weights. weights: of a file
    that holds two kinds.
    """
    with torch.device("meta"):
        blank = create_network(full_name, **given)  # for its key names
    packed = read_packed(path, weights, bytes_of(blank))
    found = identify(
        full_name, given, their_tensors(blank, packed), read_provenance(path), str(path)
    )
    model = create_network(found.full_name, **found.keywords)
    report = load_packed(model, packed, weights=weights)
    notes = (*found.notes, *([report.choice()] if report.choice() else []))
    for note in notes:
        logger.warning("%s: %s", path, note)
    return Loaded(
        model.eval(), True, None, found.full_name, found.keywords, found.origins, report, notes
    )


def given_keywords(target: Target) -> dict[str, Any]:
    """The user's own words about the network. InputError where two of them differ."""
    short = {
        "num_classes": target.num_classes,
        "img_size": target.img_size,
        "time_steps": target.time_steps,
    }
    given = {key: value for key, value in short.items() if value is not None}
    for key, value in target.model_args.items():
        if given.get(key, value) != value:
            raise InputError(
                f"--{key.replace('_', '-')} {given[key]} and --model.args.{key} {value}: give one "
                "of them"
            )
    return given | target.model_args


def resolved(target: Target, loaded: Loaded) -> Target:
    """A target that builds the same network; of a name without reading a checkpoint, so with
    other weights.
    """
    if not loaded.full_name:
        return target
    return Target(loaded.full_name, model_args=loaded.keywords)


def data_config(loaded: Loaded, target: Target, name: str, root: Path | None) -> Any:
    """Evaluation samples in the size and the preparation that the network was made for.

    name: of the data set; "": the run's, or the one that the tag's file was trained on. InputError
    where nobody names one, and where its labels can be read in several ways and nobody says in
    which.
    """
    if loaded.data is not None:
        return loaded.data
    file, model = loaded.file, loaded.model
    name = name or (file.dataset if file is not None else "")
    if not name:
        raise InputError(
            f"{target.target} is a model name: name the data set with --data NAME, or a tag"
        )
    if isinstance(model, Detector | Segmenter):
        return dense_data(model, file, name, root)
    settings = model.pretrained_cfg
    data = evaluation_config(
        name,
        root=root,
        img_size=model.img_size[0],
        in_chans=model.in_chans,
        time_steps=model.time_steps,
        crop_pct=settings["crop_pct"],
        workers=0,
        chosen=_labels(file, target, name),
    )
    if not isinstance(data, DataConfig):
        return data
    statistics: dict[str, Any] = {} if file is None else {"mean": file.mean, "std": file.std}
    return dataclasses.replace(data, interpolation=settings["interpolation"], **statistics)


def _labels(file: PublishedFile | None, target: Target, name: str) -> dict[str, str]:
    """How the labels of a set are read: as the user says, else as the file's authors did."""
    own = file if file is not None and file.dataset == name else None
    split, order = (own.split, own.class_order) if own is not None else ("", "")
    if isinstance(target, LabelledTarget):
        return chosen_labels(name, target.data_split or split, target.class_order or order)
    return {key: value for key, value in (("split", split), ("class_order", order)) if value}


def preprocessing(model: Any, file: PublishedFile | None = None) -> Any:
    """How single pictures are prepared for a network given by name, whatever set it was trained on.

    file: what its tag names; read for detectors and segmenters.
    """
    if isinstance(model, Detector | Segmenter):
        name = (
            file.dataset
            if file is not None
            else "coco2017"
            if isinstance(model, Detector)
            else "ade20k"
        )
        return prepared(model, file, name, None)
    settings = model.pretrained_cfg
    return DataConfig(
        img_size=model.img_size[0],
        in_chans=model.in_chans,
        crop_pct=settings["crop_pct"],
        mean=settings["mean"],
        std=settings["std"],
        interpolation=settings["interpolation"],
    )


def random_batch(model: Any, images: int, seed: int = 0) -> Tensor:
    """Normal noise in place of images, Poisson counts of mean 0.3 in place of event frames."""
    like = model.example_input(images)
    generator = torch.Generator().manual_seed(seed)
    if model.input_layout == "events":
        return torch.poisson(torch.full(like.shape, 0.3), generator).to(like)
    return torch.randn(like.shape, generator=generator).to(like)
