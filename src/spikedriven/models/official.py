"""Checkpoints in the authors' key names (or ours): renamed by each family's table, loaded strictly.

A family gives one table, ours -> theirs. Applied to the keys a model has, it yields the map in both
directions.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from spikedriven.errors import CheckpointError
from spikedriven.models.containers import Kind, Packed, Weights, read_packed
from spikedriven.models.prefixes import strip_wrappers
from spikedriven.models.values import as_weight, why_not_plain, with_map_axes

Rules = list[tuple[str, str]]


@dataclass(frozen=True)
class OfficialNames:
    """A family's key table.

    rules: ours -> theirs, regular expressions applied in order; older: other spellings of theirs ->
    theirs; conv1d, linear: patterns of their keys that are weights of 1-d convolutions, [out, in,
    1], and of linear layers, [out, in], where ours are convolutions [out, in, 1, 1];
    ignored: pattern of their keys that this model, by its options, has no use for.
    """

    rules: Rules
    older: Rules = field(default_factory=list)
    conv1d: str = r"$^"
    linear: str = r"$^"
    ignored: str = r"$^"

    def theirs(self, key: str) -> str:
        """The release's spelling of one of our keys (or of a module's qualified name)."""
        return _rewrite(key, self.rules)

    def in_their_shape(self, key: str, value: Tensor) -> Tensor:
        """A weight of ours as the release holds it; key: their spelling."""
        if re.search(self.linear, key):
            return value.flatten(1)
        return value.squeeze(-1) if re.search(self.conv1d, key) else value

    def current(self, key: str) -> str:
        """The release's spelling of a key from an older or differently named checkpoint."""
        return _rewrite(key, self.older)


def _rewrite(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


@dataclass(frozen=True)
class LoadReport:
    """What `load_official` did. Keys as in the checkpoint, without the prefixes of wrappers.

    container: the file, and the entry in it that held the weights; spelling: whose key names it has
    ("authors" or "spikedriven"); loaded: keys taken; missing, unexpected, misshapen: keys that did
    not fit (empty unless ``strict=False``); ignored: keys that belong to a part the model was built
    without. wrappers: what was recognised around the weights: the program that saved them, and
    prefixes that were removed. weights: "trained" or "averaged", where the file tells them apart;
    both: whether it holds both. converted: number formats of the file that the model does not have
    -> how many tensors had them.
    """

    container: str
    spelling: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    ignored: list[str] = field(default_factory=list)
    wrappers: tuple[str, ...] = ()
    weights: Kind | None = None
    both: bool = False
    converted: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        text = (
            f"{len(self.loaded)} tensors loaded from {self.container} ({self.spelling} key names)"
        )
        if self.ignored:
            text += f", {len(self.ignored)} left out: the model was built without their part"
        lines = [text, *self._packing(), *_problems(self.missing, self.unexpected, self.misshapen)]
        return "\n".join(lines)

    def choice(self) -> str:
        """Which weights were taken, of a file that holds averaged ones; else ""."""
        if self.both:
            other = "trained" if self.weights == "averaged" else "averaged"
            return (
                f"taken: the {self.weights} weights; the file holds {other} ones too: "
                f"weights={other!r}"
            )
        return (
            "taken: averaged weights (EMA); the file holds no others"
            if self.weights == "averaged"
            else ""
        )

    def _packing(self) -> list[str]:
        lines = [f"recognised: {', '.join(self.wrappers)}"] if self.wrappers else []
        lines += [self.choice()] if self.choice() else []
        return lines + [
            f"converted: {count} tensors {what}" for what, count in self.converted.items()
        ]


def load_official(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    strict: bool = True,
    weights: Weights = "auto",
) -> LoadReport:
    """Load a checkpoint that has the authors' key names, or ours, into a model of a published
    family.

    source: a file of ``torch.save`` or safetensors, or a mapping, packed in any way that
    `containers` recognises. Files are never unpickled beyond tensors and plain values.
    strict: raise one CheckpointError that lists every missing, unexpected and misshapen key, and
    change nothing; otherwise load what fits. weights: "trained" or "averaged" ones (EMA), for a
    file that holds both; "auto": the trained ones, unless there are only averaged ones. Returns
    what was done.

    Shapes must be equal, but for [out, in, 1] and [out, in, 1, 1], and [out, in] where the authors
    have a linear layer. Values must be finite, before and after they are rounded to the model's
    number format. Complex, sparse, quantized and nested tensors are refused.

    Example::

        >>> import torch
        >>> import spikedriven as sd
        >>> model = sd.create_model("sdt_2_256_cifar")
        >>> torch.save({"state_dict": model.state_dict()}, "checkpoint.pth.tar")
        >>> report = sd.load_official(model, "checkpoint.pth.tar")
        >>> len(report.loaded) == len(model.state_dict()), report.missing
        (True, [])
    """
    return load_packed(model, read_packed(source, weights, bytes_of(model)), strict, weights)


def bytes_of(model: nn.Module) -> int:
    """Memory that the weights of a model take."""
    return sum(value.nbytes for value in model.state_dict().values())


def load_packed(
    model: nn.Module, packed: Packed, strict: bool = True, weights: Weights = "auto"
) -> LoadReport:
    """`load_official` of a checkpoint that was read already."""
    if any(value.is_meta for value in model.state_dict().values()):
        raise CheckpointError(
            f"this {type(model).__name__} has no memory for weights (device meta); build it on a "
            "CPU"
        )
    match = match_names(model, packed, weights)
    ignored = sorted(
        key for key in match.found if match.spelling == "authors" and _is_ignored(model, key)
    )
    found = {key: value for key, value in match.found.items() if key not in ignored}
    common = sorted(found.keys() & match.targets.keys())
    refuse({key: why_not_plain(found[key]) for key in common}, packed.origin)
    linear = _linear_names(model) if match.spelling == "authors" else r"$^"
    fitting, misshapen = _fitting(
        {key: (found[key], *match.targets[key]) for key in common}, linear
    )
    missing, unexpected = (
        sorted(match.targets.keys() - found.keys()),
        sorted(found.keys() - match.targets.keys()),
    )
    if strict and (missing or unexpected or misshapen):
        raise CheckpointError(
            f"the checkpoint ({match.packed.origin}) does not fit {type(model).__name__}; nothing "
            "was loaded.\n"
            + "\n".join(_problems(missing, unexpected, misshapen))
            + "\nCheck the variant and its keywords (num_classes, in_chans ...); strict=False "
            "loads what fits."
        )
    converted, state = _as_weights(fitting, packed.origin)
    model.load_state_dict(state, strict=False)
    return LoadReport(
        match.packed.origin, match.spelling, list(fitting), missing, unexpected, misshapen, ignored,
        match.packed.wrappers, match.packed.weights, match.packed.both, converted,
    )  # fmt: skip


def _fitting(
    common: Mapping[str, tuple[Tensor, str, Tensor]], linear: str
) -> tuple[dict[str, tuple[str, Tensor, Tensor]], list[str]]:
    """Of key -> (value, our key, weight): those whose shapes fit, and a line for each that does
    not.

    linear: pattern of the keys that are weights of linear layers.
    """
    fitting, misshapen = {}, []
    for key, (value, ours, target) in common.items():
        shaped = with_map_axes(value, target, re.search(linear, key) is not None)
        if shaped.shape == target.shape:
            fitting[key] = (ours, shaped, target)
        else:
            misshapen.append(f"{key}: expected {list(target.shape)}, found {list(value.shape)}")
    return fitting, misshapen


def _as_weights(
    fitting: Mapping[str, tuple[str, Tensor, Tensor]], origin: str
) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Values in the model's number formats, by our keys, and how many had which other format."""
    reasons: dict[str, str] = {}
    converted: dict[str, int] = defaultdict(int)
    state: dict[str, Tensor] = {}
    for key, (ours, value, target) in fitting.items():
        state[ours], reasons[key] = as_weight(value, target)
        if value.dtype != target.dtype:
            converted[f"from {value.dtype} to {target.dtype}".replace("torch.", "")] += 1
    refuse(reasons, origin)
    return dict(converted), state


def refuse(reasons: Mapping[str, str], origin: str) -> None:
    """CheckpointError that names the keys by what is wrong with them; key -> "" for those that
    are right.
    """
    keys: dict[str, list[str]] = defaultdict(list)
    for key, reason in reasons.items():
        keys[reason].append(key)
    keys.pop("", None)
    if keys:
        broken = "; ".join(f"{reason} in {', '.join(names)}" for reason, names in keys.items())
        raise CheckpointError(f"the checkpoint ({origin}) holds {broken}; nothing was loaded")


def _official_names(model: nn.Module) -> OfficialNames:
    return cast(Callable[[], OfficialNames], model.official_names)()


def _linear_names(model: nn.Module) -> str:
    return _official_names(model).linear


def _is_ignored(model: nn.Module, key: str) -> bool:
    return re.search(_official_names(model).ignored, key) is not None


@dataclass(frozen=True)
class NameMatch:
    """A checkpoint's tensors and a model's, by the same names.

    spelling: whose names these are; found: the checkpoint's tensors; targets: the model's (our key,
    tensor); packed: the checkpoint without the prefixes of wrappers.
    """

    spelling: str
    found: dict[str, Any]
    targets: dict[str, tuple[str, Tensor]]
    packed: Packed


def match_names(model: nn.Module, packed: Packed, weights: Weights = "auto") -> NameMatch:
    """Find out whose names a checkpoint has, and remove the prefixes of wrappers."""
    state = model.state_dict()
    ours = {key: (key, value) for key, value in state.items()}
    if not hasattr(model, "official_names"):
        packed = strip_wrappers(packed, ours.__contains__, weights)
        return NameMatch("spikedriven", packed.tensors, ours, packed)
    names = _official_names(model)
    theirs = {names.theirs(key): (key, value) for key, value in state.items()}
    packed = strip_wrappers(
        packed, lambda key: key in ours or names.current(key) in theirs, weights
    )
    renamed = {names.current(key): value for key, value in packed.tensors.items()}
    if len(packed.tensors.keys() & ours.keys()) > len(renamed.keys() & theirs.keys()):
        return NameMatch("spikedriven", packed.tensors, ours, packed)
    if len(renamed) < len(packed.tensors):
        raise CheckpointError(
            f"{packed.origin} holds {_twice(names, packed)}: an older and a newer name of one "
            "weight"
        )
    return NameMatch("authors", renamed, theirs, packed)


def _twice(names: OfficialNames, packed: Packed) -> str:
    keys: dict[str, list[str]] = defaultdict(list)
    for key in packed.tensors:
        keys[names.current(key)].append(key)
    return " and ".join(next(spellings for spellings in keys.values() if len(spellings) > 1))


def shared_keys(model: nn.Module, packed: Packed) -> int:
    """How many tensors have a name that the model has too, in our spelling or the authors'."""
    match = match_names(model, packed)
    return len(match.found.keys() & match.targets.keys())


def their_tensors(model: nn.Module, packed: Packed) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the release's names, whosever names it has. model: may be
    without memory.
    """
    match = match_names(model, packed)
    refuse({key: why_not_plain(value) for key, value in match.found.items()}, packed.origin)
    if match.spelling == "authors" or not hasattr(model, "official_names"):
        return match.found
    names = _official_names(model)
    return {names.theirs(key): value for key, value in match.found.items()}


def official_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights in the authors' key names, shapes and order: what their code loads."""
    names = _official_names(model)
    tensors = {names.theirs(key): value for key, value in model.state_dict().items()}
    return {key: names.in_their_shape(key, value) for key, value in tensors.items()}


def _problems(missing: list[str], unexpected: list[str], misshapen: list[str]) -> list[str]:
    groups = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    return [f"{len(keys)} {what}:\n  " + "\n  ".join(keys) for what, keys in groups.items() if keys]
