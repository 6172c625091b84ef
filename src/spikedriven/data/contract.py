"""What a data set is to the rest of the package: one entry, whatever its samples are.

An entry says its name, its facts, what a recipe can say of it (`config`), how a part is opened and
where it lies. All entries are in one registry. A name belongs to one set for each task that reads
sets: images and recordings with labels (classification), boxes (detection), label maps
(segmentation).

`DataSection` is what the data sections of all recipes have in common. Each kind of data derives its
own from it, and a set with options of its own derives one from that of its kind.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, ClassVar, Self

from spikedriven.checks import check_choices, check_numbers, check_whole
from spikedriven.errors import InputError, RecipeError, did_you_mean
from spikedriven.files import cache_folder

DATA_VARIABLE = "SPIKEDRIVEN_DATA"
#: What samples are labelled with: `DataSection.task`.
TASKS = ("classification", "detection", "segmentation")


def data_folder(root: str | Path | None = None) -> Path:
    """`root`, else the folder in the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven; need not
    exist."""
    return Path(root or os.environ.get(DATA_VARIABLE) or cache_folder()).expanduser()


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """The data section of a recipe. A value that cannot be used raises RecipeError naming the
    field."""

    task: ClassVar[str]
    """One of `TASKS`."""
    asked: ClassVar[Mapping[str, str]] = {}
    """Fields that decide what a label means or which samples are for testing, and that no weights
    tell: what to say where nobody has given one."""

    dataset: str
    """Name of the data set; `spikedriven data` lists them."""
    root: Path | None = None
    """Data folder; default: the variable SPIKEDRIVEN_DATA, else ~/.cache/spikedriven."""
    val_fraction: float = 0.0
    """Share of the train samples held out as split "val", the same for every seed; 0: none."""
    skip_broken: bool = True
    """Replace an unreadable train sample by the next one and count it; False: stop. Evaluation
    always stops."""
    workers: int = 2
    """Loading processes per training process; 0: load in the training process. Does not change any
    batch."""

    def __post_init__(self) -> None:
        try:
            entry = find_set(self.dataset, self.task)
        except InputError as error:
            raise RecipeError(f"dataset: {error}") from error
        if type(self) is not entry.config:
            raise RecipeError(
                f"dataset: the options of {self.dataset} are those of {entry.config.__name__}, not "
                f"of {type(self).__name__}; spikedriven.data.config_for({self.dataset!r}, ...) has "
                "the right ones"
            )
        if self.root is not None:
            self._take_root(self.root)
        check_choices(self)
        check_whole(self, {"workers": 0})
        check_numbers(self, {"val_fraction": "[0, 1)"})
        self._check()

    def _take_root(self, root: Path) -> None:
        """Absolute: what is read must not depend on the folder in which a command runs."""
        if not self.reads_root():
            raise RecipeError(
                f"root: found {str(root)!r}, but {self.dataset} is part of the package, and "
                "nothing of "
                "that folder would be read. Leave data.root out, or name a set that lies there "
                "(--data.dataset folder for data of your own)"
            )
        object.__setattr__(self, "root", root.expanduser().absolute())

    def reads_root(self) -> bool:
        """Whether anything is read from the data folder."""
        return not self.entry.facts.embedded

    def has_val_part(self) -> bool:
        """Whether the files have samples of their own for validation."""
        return False

    def _check(self) -> None:
        """What a kind of data asks of its own fields."""

    @classmethod
    def for_set(cls, entry: "DataSet", **fields: Any) -> Self:
        """The section of a set of which nothing but these fields is said."""
        return cls(dataset=entry.name, **fields)

    @classmethod
    def for_network(
        cls,
        entry: "DataSet",
        *,
        img_size: int,
        in_chans: int,
        time_steps: int,
        crop_pct: float,
        **fields: Any,
    ) -> Self:
        """How a set is evaluated by a classifier of this input."""
        raise InputError(f"{entry.name} is a set for {cls.task}, not for classification")

    @property
    def entry(self) -> "DataSet":
        """The set that is named."""
        return find_set(self.dataset, self.task)

    @property
    def mixes(self) -> bool:
        """Whether any training batch can be mixed; batches then need an even number of samples."""
        return False

    def told(self) -> tuple[str, ...]:
        """What whoever reads a figure over this data must know beside the set's name."""
        return tuple(f"{name} {getattr(self, name)}" for name in self.asked)

    def unkept(self) -> Self:
        """The same samples without a copy of what is made of them on the disk."""
        return self

    def fetched(self) -> Self:
        """With leave to download the set."""
        raise InputError(f"{self.dataset} cannot be downloaded here; leave --download out")

    def as_one_of_several(self) -> Self:
        """As several processes read it at the same time."""
        return self


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a set without opening it; numbers are None where they are those of the
    user's own files.

    num_classes: of a detection set the classes of objects. mean, std: the usual figures of the
    train images, in 0..1, per channel; of sets of other kinds nothing.
    """

    num_classes: int | None = None
    train_images: int | None = None
    test_images: int | None = None
    size: str
    licence: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    embedded: bool = False
    """The samples are part of the package: no folder is read."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One entry of the registry.

    config: the class of its data section. open: (section, data folder, "train" or "test") -> the
    samples, a set with `len()`, items, `classes`, `where(index)` and `subset(indices)`. locate:
    where the set lies below a data folder, or None.
    """

    name: str
    config: type[Any]
    facts: Facts
    open: Callable[[Any, Path, str], Any]
    locate: Callable[[Path], Path | None] = field(default=lambda folder: folder)

    @property
    def task(self) -> str:
        """What its samples are labelled for, one of `TASKS`."""
        return self.config.task


SETS: dict[tuple[str, str], DataSet] = {}


def register_data_set(entry: DataSet) -> None:
    """From now on recipes and commands find this data set by its name; its config says of which
    kind it is.

    InputError for anything but a `DataSet`, and for a name that a set for the same task has.
    """
    if not isinstance(entry, DataSet) or not issubclass(entry.config, DataSection):
        raise InputError(
            f"register_data_set takes a DataSet whose config is a DataSection, found {entry!r}"
        )
    if (entry.task, entry.name) in SETS:
        raise InputError(f"the name {entry.name!r} belongs to another data set; choose a free one")
    SETS[entry.task, entry.name] = entry


def all_sets() -> tuple[DataSet, ...]:
    """Every data set, in the order of registration."""
    return tuple(SETS.values())


def sets_named(name: str) -> tuple[DataSet, ...]:
    """The sets of this name, one for each task that has it; InputError with the closest names if
    there is none."""
    found = tuple(entry for entry in all_sets() if entry.name == name)
    if not found:
        raise InputError(
            f"unknown data set {name!r}; {did_you_mean(name, {name for _, name in SETS})}"
        )
    return found


def find_set(name: str, task: str = "classification") -> DataSet:
    """The set of this name for a task. InputError with the closest names if there is none."""
    if (task, name) in SETS:
        return SETS[task, name]
    known = [name for of, name in SETS if of == task]
    others = " and ".join(of for of, other in SETS if other == name)
    if others:
        raise InputError(
            f"{name!r} is a data set for {others}; those for {task}: {', '.join(known)}"
        )
    raise InputError(f"unknown data set {name!r}; {did_you_mean(name, known)}")


def config_for(name: str, task: str = "classification", **fields: Any) -> Any:
    """The data section of a set by its name, as a recipe would have it: an object of the set's own
    class, with the channels that its images have where nothing else is said."""
    entry = find_set(name, task)
    known = {field.name for field in fields_of(entry.config)}
    for unknown in fields.keys() - known:
        raise RecipeError(f"{unknown}: {why_unknown(entry, unknown)}")
    return entry.config.for_set(entry, **fields)


def why_unknown(entry: DataSet, option: str) -> str:
    """What to say of an option that the data section of a set has not."""
    known = [field.name for field in fields_of(entry.config)]
    others = [
        other.name
        for other in all_sets()
        if other.task == entry.task and option in (field.name for field in fields_of(other.config))
    ]
    if others:
        return f"an option of {', '.join(others)}, not of {entry.name}; leave it out"
    return f"not an option of {entry.name}; {did_you_mean(option, known)}"
