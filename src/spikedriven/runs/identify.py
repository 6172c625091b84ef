"""The one rule for which network a file of weights belongs to.

What the tensors tell is read from them (`told_by` of the family). What they cannot tell
(`asks_for`: levels, time steps, heads) is taken from whoever knows: the user's own words
(``--model.args.KEY VALUE``), the tag in NAME.TAG, or what is written beside the tensors
(`provenance`). If nobody says it, the user is asked: nothing is guessed. Words that contradict the
file, or each other, are an error.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from spikedriven.errors import CheckpointError, InputError
from spikedriven.models.base import SpikeDrivenModel
from spikedriven.models.create import is_dense
from spikedriven.models.dense_keywords import joined
from spikedriven.models.header import Provenance
from spikedriven.models.registry import family_of, variant_of
from spikedriven.models.tags import PublishedFile, list_files, stated_by
from spikedriven.runs.dense import asked_of_dense

#: Keywords that the name of a network fixes, and that a published file of it therefore has.
FIXED_BY_NAME = ("embed_dim", "embed_dims", "depth", "depths")
#: Parts of a network that a file may hold and the user may do without; loading reports them as left
#: out.
CAN_BE_LEFT_OUT = ("rep_branch",)
#: How the user's own words are called in messages.
GIVEN = "the command line"


@dataclass(frozen=True)
class Identity:
    """full_name: NAME or NAME.TAG, what `create_model` takes. keywords: beside those of the name,
    all that is known.

    origins: keyword -> who said it, for the reader. notes: what the reader must know.
    """

    full_name: str
    keywords: dict[str, Any]
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Word:
    """One source of keywords, and how it is called."""

    who: str
    keywords: dict[str, Any]


def identify(
    full_name: str,
    given: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    beside: Provenance | None = None,
    file: str = "the file",
) -> Identity:
    """Which network a file belongs to.

    full_name: NAME or NAME.TAG. given: the user's own keywords. tensors: of the file, in the
    release's spelling. beside: what is written about it. file: its name, for messages. Raises
    InputError for what only the user can say, CheckpointError where the file contradicts what is
    said of it.
    """
    name, tagged = stated_by(full_name)
    if beside is not None and beside.name != name:
        raise CheckpointError(
            f"{file}: {beside.where} says that it is of {beside.name}, not of {name}"
        )
    words = [_Word(GIVEN, dict(given))]
    if tagged:
        words.append(_Word(f"the tag {full_name}", tagged))
    if beside is not None:
        words.append(_Word(beside.where, beside.args))
    said, origins = _agreed(words, file)
    own = own_keywords(full_name) | said
    told = {key: plain(value) for key, value in told_by(name, tensors, own).items()}
    _check(file, full_name, told, said, origins, own if tagged else {})
    keywords = told | said
    missing = [key for key in asks_for(name, own | told) if key not in keywords]
    if missing:
        raise InputError(question(file, name, missing, keywords))
    origins |= {key: "the file's tensors" for key in told if key not in origins}
    kept = full_name if tagged or beside is None or not _known(beside) else f"{name}.{beside.tag}"
    return Identity(kept, keywords, origins, tuple(_notes(name, told, said)))


def own_keywords(full_name: str) -> dict[str, Any]:
    """Keywords of NAME or NAME.TAG: the family's defaults with the variant's and the tag's put
    in.
    """
    if is_dense(full_name):
        return stated_by(full_name)[1]
    variant = variant_of(full_name)
    parameters = inspect.signature(family_of(full_name)).parameters
    defaults = {key: p.default for key, p in parameters.items() if p.default is not p.empty}
    size = {"img_size": variant.input_size[1:], "in_chans": variant.input_size[0]}
    classes = {} if variant.num_classes is None else {"num_classes": variant.num_classes}
    return {key: plain(value) for key, value in (defaults | size | classes | variant.args).items()}


def told_by(name: str, tensors: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Any]:
    """`SpikeDrivenModel.told_by` of the family; nothing for a family that does not say, nor for
    detectors and segmenters, whose keywords are too many to tell from shapes.
    """
    if is_dense(name) or not issubclass(family := family_of(name), SpikeDrivenModel):
        return {}
    return family.told_by(tensors, own)


def asks_for(name: str, own: Mapping[str, Any]) -> tuple[str, ...]:
    """`SpikeDrivenModel.asks_for` of the family; nothing for a family that does not say. Of
    detectors and segmenters what decides most: the body, the form, the neurons behind the body, and
    what the body's family asks for.
    """
    if is_dense(name):
        return asked_of_dense(
            own, lambda body, keywords: asks_for(body, own_keywords(body) | keywords)
        )
    family = family_of(name)
    return family.asks_for(own) if issubclass(family, SpikeDrivenModel) else ()


def plain(value: Any) -> Any:
    """Lists, which YAML and JSON have, as the tuples that keywords are."""
    return tuple(value) if isinstance(value, list) else value


def question(
    file: str, name: str, missing: Sequence[str], known: Mapping[str, Any], within: str = ""
) -> str:  # fmt: skip
    """What to say where nobody knows a keyword: which, what the published files have, and what to
    write.

    within: what stands before the keyword where the network is a part of another
    ("backbone_args.").
    """
    options = " ".join(f"--model.args.{within}{key} VALUE" for key in missing)
    lines = [
        f"{file}: its tensors do not tell {' and '.join(missing)} of {name}, and the network "
        "computes something else "
        f"with another value. Say it: {options}",
    ]
    fitting = [f for f in list_files(f"{name}.*") if _fits(f, known)]
    if fitting:
        lines.append("or name the published file that it is:")
        lines += [f"  {f.full_name:<40} {_values(f, missing)}" for f in fitting]
    return "\n".join(lines)


def _fits(file: PublishedFile, known: Mapping[str, Any]) -> bool:
    stated = stated_by(file.full_name)[1]
    return all(plain(stated[key]) == value for key, value in known.items() if key in stated)


def _values(file: PublishedFile, keys: Sequence[str]) -> str:
    return ", ".join(
        f"{key} {file.args[key]}" if key in file.args else f"{key} not published" for key in keys
    )


def _agreed(words: Sequence[_Word], file: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Keywords and who said each. The user's own words win; tag and file must not contradict
    each other.
    """
    said: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for word in words:
        for key, value in word.keywords.items():
            if key not in said:
                said[key], origins[key] = plain(value), word.who
            elif isinstance(value, dict) and (origins[key] == GIVEN or _agree(value, said[key])):
                said[key] = joined(value, said[key])  # of a body: each may say something else of it
            elif said[key] != plain(value) and origins[key] != GIVEN:
                raise CheckpointError(
                    f"{file}: {word.who} says {key} {value}, {origins[key]} says {said[key]}. Name "
                    "the tag that fits, "
                    f"or decide: --model.args.{key} VALUE"
                )
    return said, origins


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two dictionaries have the same values for the keys that both have."""
    return all(plain(one[key]) == plain(other[key]) for key in one.keys() & other.keys())


def _check(
    file: str,
    full_name: str,
    told: Mapping[str, Any],
    said: Mapping[str, Any],
    origins: Mapping[str, str],
    fixed: Mapping[str, Any],
) -> None:
    """CheckpointError where the tensors contradict what is said. fixed: keywords of the name,
    where a tag is given.
    """
    wrong = [
        f"{key} {value} by its tensors, {said[key]} by {origins[key]}"
        for key, value in told.items()
        if key in said
        and said[key] != value
        and not (key in CAN_BE_LEFT_OUT and said[key] is False)
    ]
    wrong += [
        f"{key} {told[key]} by its tensors, {fixed[key]} by the name {full_name}"
        for key in (*FIXED_BY_NAME, "in_chans")
        if key in fixed and key in told and key not in said and told[key] != fixed[key]
    ]
    if wrong:
        raise CheckpointError(f"{file} is another network's: {'; '.join(wrong)}")


def _known(beside: Provenance) -> bool:
    """Whether the tag that a file was converted under is one of ours."""
    return any(file.tag == beside.tag for file in list_files(f"{beside.name}.*"))


def _notes(name: str, told: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    """Where a file without a tag has other widths than its name: read from it, and said."""
    own = own_keywords(name)
    for key in FIXED_BY_NAME:
        if key in told and key in own and key not in said and told[key] != own[key]:
            yield f"the file has {key} {told[key]}, where {name} has {own[key]}"
