"""The data section of a recipe: which class it has, how it follows a change of the data set, and
what is said of it."""

import dataclasses
from typing import Any

from spikedriven.data.config import DataConfig
from spikedriven.data.contract import TASKS, DataSection, all_sets, find_set
from spikedriven.data.detection.config import DetectionDataConfig
from spikedriven.data.events.config import EventDataConfig
from spikedriven.data.segmentation.config import SegmentationDataConfig
from spikedriven.errors import InputError

#: Sections of one kind describe samples of one form, and can take each other's place.
KINDS: tuple[type[DataSection], ...] = (
    DataConfig,
    EventDataConfig,
    DetectionDataConfig,
    SegmentationDataConfig,
)
#: The data section where a recipe names no data set, by what its samples are labelled with.
_UNNAMED = {kind.task: kind for kind in KINDS if kind is not EventDataConfig}


def data_config_type(task: str, dataset: str | None) -> type[Any]:
    """The class of a recipe's data section. task: of the recipe; those that read no labels, or a
    teacher's too, read sets for classification. dataset: its field `dataset`, None where the recipe
    leaves it out. Raises InputError, with the closest names, for a data set that nobody knows."""
    labelled = task if task in TASKS else "classification"
    return _UNNAMED[labelled] if dataset is None else find_set(dataset, labelled).config


def kind_of(section: type[DataSection]) -> type[DataSection]:
    """Which of `KINDS` it is derived from; the class itself where it is of a kind of its own."""
    return next((kind for kind in KINDS if issubclass(section, kind)), section)


def with_dataset(data: DataSection, dataset: str, **changes: Any) -> Any:
    """The section with another data set; options that only the old set has are left behind.

    changes: of further fields, made at the same time. InputError for a set of another kind, whose
    samples nothing in the section fits.
    """
    wanted = find_set(dataset, data.task).config
    if kind_of(wanted) is not kind_of(type(data)):
        raise InputError(
            f"{dataset}: the data section is for sets such as {data.dataset}, whose options are "
            "others"
        )
    shared = {field.name for field in dataclasses.fields(wanted)}
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    kept = {name: value for name, value in fields.items() if name in shared}
    if find_set(dataset, data.task).facts.embedded:
        kept["root"] = None
    return wanted(**(kept | {"dataset": dataset} | changes))


def of_other_set(section: type[DataSection], field: str) -> dataclasses.Field[Any] | None:
    """The field of that name which another set of the same kind has."""
    sections = [entry.config for entry in all_sets() if kind_of(entry.config) is kind_of(section)]
    fields = (field for other in sections for field in dataclasses.fields(other))
    return next((known for known in fields if known.name == field), None)


def chosen_labels(dataset: str, split: str | None, class_order: str | None) -> dict[str, str]:
    """The fields `split` and `class_order` of a data section, as a user or a published file says
    them.

    A figure depends on them, and no weights tell them: InputError where the set has several and
    none is given (None or ""), and where the set has one and something is given.
    """
    asked, given = find_set(dataset).config.asked, {"split": split, "class_order": class_order}
    for field, value in given.items():
        if field in asked and not value:
            raise InputError(f"{dataset} {asked[field]}")
        if value and field not in asked:
            raise InputError(f"{field} {value}: {dataset} has only one")
    return {field: value for field, value in given.items() if value}


def evaluation_config(dataset: str, *, chosen: dict[str, str] | None = None, **fields: Any) -> Any:
    """How a classification set is evaluated by a network; fields: `DataSection.for_network` and
    what all data sections have. chosen: what `chosen_labels` returned."""
    entry = find_set(dataset)
    return entry.config.for_network(entry, **fields, **(chosen or {}))


def described(data: DataSection) -> str:
    """The data set of a data section, for whoever reads a figure over it: its name, whether it is
    simulated, and which split and order of classes it is read with where it has several."""
    told = data.told()
    return f"{data.dataset} ({', '.join(told)})" if told else data.dataset
