"""Checkpoints in the authors' key names (or ours): read safely, renamed by each family's table, loaded strictly.

A family gives one table, ours -> theirs. Applied to the keys a model has, it yields the map in both directions.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikedriven.errors import CheckpointError

Rules = list[tuple[str, str]]


@dataclass(frozen=True)
class OfficialNames:
    """A family's key table.

    rules: ours -> theirs, regular expressions applied in order; older: other spellings of theirs -> theirs;
    conv1d: pattern of their keys that are weights of 1-d convolutions, [out, in, 1] where ours are [out, in, 1, 1];
    ignored: pattern of their keys that this model, by its options, has no use for.
    """

    rules: Rules
    older: Rules = field(default_factory=list)
    conv1d: str = r"$^"
    ignored: str = r"$^"

    def theirs(self, key: str) -> str:
        """The release's spelling of one of our keys (or of a module's qualified name)."""
        return _rewrite(key, self.rules)

    def current(self, key: str) -> str:
        """The release's spelling of a key from an older or differently named checkpoint."""
        return _rewrite(key, self.older)


def _rewrite(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


@dataclass(frozen=True)
class LoadReport:
    """What `load_official` did. Keys in the checkpoint's own spelling.

    container: how the file was packed; spelling: whose key names it has ("authors" or "spikedriven"); loaded: keys
    taken; missing, unexpected, misshapen: keys that did not fit (empty unless ``strict=False``); ignored: keys that
    belong to a part the model was built without.
    """

    container: str
    spelling: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    ignored: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{len(self.loaded)} tensors loaded from {self.container} ({self.spelling} key names)"
        if self.ignored:
            text += f", {len(self.ignored)} left out: the model was built without their part"
        return text + "".join(f"\n{line}" for line in _problems(self.missing, self.unexpected, self.misshapen))


def load_official(model: nn.Module, source: str | Path | Mapping[str, Tensor], strict: bool = True) -> LoadReport:
    """Load a checkpoint that has the authors' key names, or ours, into a model of a published family.

    source: a file (timm saver, ``model`` or ``state_dict`` containers, a bare state dict, ``module.`` prefixes,
    safetensors), or such a mapping. Files are never unpickled beyond tensors and plain values.
    strict: raise one CheckpointError that lists every missing, unexpected and misshapen key, and change nothing;
    otherwise load what fits. Returns what was done.
    """
    tensors, container = read_state_dict(source)
    spelling, found, targets = _match_spelling(model, tensors)
    ignored = sorted(key for key in found if spelling == "authors" and _is_ignored(model, key))
    found = {key: value for key, value in found.items() if key not in ignored}
    fitting, misshapen = {}, []
    for key in sorted(found.keys() & targets.keys()):
        ours, target = targets[key]
        value = _with_map_axes(found[key], target)
        if value.shape == target.shape:
            fitting[key] = (ours, value)
        else:
            misshapen.append(f"{key}: expected {list(target.shape)}, found {list(found[key].shape)}")
    missing, unexpected = sorted(targets.keys() - found.keys()), sorted(found.keys() - targets.keys())
    if strict and (missing or unexpected or misshapen):
        raise CheckpointError(
            f"the checkpoint ({container}) does not fit {type(model).__name__}; nothing was loaded.\n"
            + "\n".join(_problems(missing, unexpected, misshapen))
            + "\nCheck the variant and its keywords (num_classes, in_chans ...); strict=False loads what fits."
        )
    weights = dict(fitting.values())
    _refuse_non_finite(weights)
    model.load_state_dict(weights, strict=False)
    return LoadReport(container, spelling, list(fitting), missing, unexpected, misshapen, ignored)


def _official_names(model: nn.Module) -> OfficialNames:
    return cast(Callable[[], OfficialNames], model.official_names)()


def _is_ignored(model: nn.Module, key: str) -> bool:
    return re.search(_official_names(model).ignored, key) is not None


def _match_spelling(
    model: nn.Module, tensors: Mapping[str, Tensor]
) -> tuple[str, dict[str, Tensor], dict[str, tuple[str, Tensor]]]:
    """Whose names the checkpoint has; its tensors by that spelling; the model's (our key, tensor) by that spelling."""
    state = model.state_dict()
    ours = {key: (key, value) for key, value in state.items()}
    if not hasattr(model, "official_names"):
        return "spikedriven", dict(tensors), ours
    names = _official_names(model)
    theirs = {names.theirs(key): (key, value) for key, value in state.items()}
    renamed = {names.current(key): value for key, value in tensors.items()}
    if len(tensors.keys() & ours.keys()) > len(renamed.keys() & theirs.keys()):
        return "spikedriven", dict(tensors), ours
    return "authors", renamed, theirs


def shared_keys(model: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    """How many tensors have a name that the model has too, in our spelling or the authors'."""
    _, found, targets = _match_spelling(model, tensors)
    return len(found.keys() & targets.keys())


def their_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file by the release's names, whosever names the file has. model: may be without memory."""
    spelling, found, _ = _match_spelling(model, tensors)
    if spelling == "authors" or not hasattr(model, "official_names"):
        return found
    names = _official_names(model)
    return {names.theirs(key): value for key, value in found.items()}


def official_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights in the authors' key names, shapes and order: what their code loads."""
    names = _official_names(model)
    tensors = {names.theirs(key): value for key, value in model.state_dict().items()}
    return {key: value.squeeze(-1) if re.search(names.conv1d, key) else value for key, value in tensors.items()}


def _with_map_axes(value: Tensor, target: Tensor) -> Tensor:
    """[out, in, 1] -> [out, in, 1, 1] and back: a 1x1 convolution over tokens is one over the map."""
    if abs(value.ndim - target.ndim) == 1 and 3 in (value.ndim, target.ndim) and value.shape[-1] == 1:
        return value.reshape(target.shape) if value.numel() == target.numel() else value
    return value


def _problems(missing: list[str], unexpected: list[str], misshapen: list[str]) -> list[str]:
    groups = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    return [f"{len(keys)} {what}:\n  " + "\n  ".join(keys) for what, keys in groups.items() if keys]


def _refuse_non_finite(tensors: Mapping[str, Tensor]) -> None:
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"the checkpoint holds NaN or infinite values in {', '.join(broken)}; nothing was loaded")


def read_state_dict(source: str | Path | Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Tensors by key, out of whatever container they came in, and its description."""
    content: Mapping[str, Any]
    if isinstance(source, Mapping):
        content, description = source, "a mapping"
    else:
        content, description = _read_file(Path(source)), str(source)
    for container in ("state_dict", "model"):
        inner: object = content.get(container)
        if isinstance(inner, Mapping):
            content, description = inner, f"{description} [{container!r}]"
            break
    tensors = {key.removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}
    others = sorted(str(key) for key, value in content.items() if not isinstance(value, Tensor))
    if others or not tensors:
        raise CheckpointError(
            f"{description} is no state dict: expected tensors by name (or a container with 'state_dict' or 'model'), "
            f"found {len(tensors)} tensors and the other entries {others[:8]}"
        )
    return tensors, description


#: What builds a number when NumPy's pickles are read. Asked of a number, because NumPy 1 names its
#: module otherwise.
_NUMPY_SCALAR = cast(Callable[..., Any], np.float64(0).__reduce__()[0])
#: Plain values that the authors' training scripts stored beside the weights; none of them can run code. NumPy 1 and 2
#: write their numbers under different names.
_PLAIN_VALUES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace, np.dtype, type(np.dtype(np.float64)),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"), (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
]  # fmt: skip


def _read_file(path: Path) -> Mapping:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_PLAIN_VALUES):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or no checkpoint: {error}") from error
    except Exception as error:  # torch raises pickle.UnpicklingError, and others on hostile files
        raise CheckpointError(
            f"{path} was refused: it holds more than tensors and plain values, and unpickling it could run code "
            f"({str(error).splitlines()[0]}). Save its state dict alone, in an environment you trust."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return content
