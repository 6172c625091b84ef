"""Files that authors published, by name: ``NAME.TAG``, as in timm (``sdt_8_768.in1k_288``).

A tag says what the shapes in a file cannot: how many time steps and levels the network runs with,
its heads, the order of its classes, and how its figure was measured. The families' modules register
theirs.
"""

import fnmatch
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from spikedriven.errors import InputError, did_you_mean

Task = Literal["classification", "pretraining", "detection", "segmentation"]
TASKS: tuple[str, ...] = get_args(Task)
NO_LICENCE = "none stated: all rights are the authors'"


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of weights that authors published, and what is needed to get its figure.

    name: registered network. tag: which of its files. args: keywords of the network for this file,
    beside those of the name. task, dataset: what it was trained for, in our names. split: which
    split of the set ("authors"); "": the set has one. class_order: which order of the classes the
    outputs have, a value of `data.class_order` ("as_text" for DVS128 Gesture); "": the data set's
    own. input_size: (C, H, W). crop_pct, interpolation, mean, std: how images are prepared where
    the figure was measured. published: the figure as the source gives it; "": none. source: where
    that stands. url: the authors' link; "": the file was announced and is not public. filename:
    what it is called there. licence: of the release. checked: what of it was checked here, and how.
    """

    name: str
    tag: str
    args: dict[str, Any] = field(default_factory=dict)
    task: Task = "classification"
    dataset: str = "imagenet"
    num_classes: int | None = 1000
    split: str = ""
    class_order: str = ""
    input_size: tuple[int, int, int] = (3, 224, 224)
    crop_pct: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    published: str = ""
    source: str
    url: str = ""
    filename: str = ""
    licence: str = NO_LICENCE
    checked: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.name}.{self.tag}"


_FILES: dict[str, PublishedFile] = {}


def register_files(*files: PublishedFile) -> None:
    """Make files known by name. ValueError for a name that is taken."""
    for file in files:
        if file.full_name in _FILES:
            raise ValueError(f"{file.full_name} is registered twice")
        _FILES[file.full_name] = file


def list_files(filter: str = "*") -> list[PublishedFile]:
    """Registered files whose NAME.TAG matches a wildcard, in the order of registration."""
    return [file for full_name, file in _FILES.items() if fnmatch.fnmatch(full_name, filter)]


def stated_by(name: str) -> tuple[str, dict[str, Any]]:
    """(registered name, keywords that its published file states) of NAME or NAME.TAG; no keywords
    without a tag.

    InputError for an unknown tag.
    """
    base, dot, _ = name.partition(".")
    if not dot:
        return base, {}
    file = find_file(name)
    return base, ({} if file.num_classes is None else {"num_classes": file.num_classes}) | file.args


def find_file(full_name: str) -> PublishedFile:
    """The file NAME.TAG. InputError, with close names, for an unknown one."""
    if full_name not in _FILES:
        name = full_name.partition(".")[0]
        known = [file.full_name for file in list_files(f"{name}.*")]
        hint = f"known: {', '.join(known)}" if known else did_you_mean(full_name, _FILES)
        raise InputError(
            f"no published file is called {full_name!r}; {hint}. `spikedriven models --files` "
            "lists them all"
        )
    return _FILES[full_name]
