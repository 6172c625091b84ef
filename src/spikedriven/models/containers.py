"""What a checkpoint is packed in: the dictionaries that training scripts put around a state dict.

Recognised are those of timm, Lightning, MMEngine, DeepSpeed and torchvision's reference scripts, of
averaged weights (EMA), and any of them inside another. What wrappers put before the keys is removed
later (`prefixes`), when the names of the network are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from spikedriven.errors import CheckpointError
from spikedriven.models.unpickle import read_file

#: The weights as the optimiser left them, or an average of them over steps (EMA).
Kind = Literal["trained", "averaged"]
#: Which of them to take. auto: the trained ones, unless there are only averaged ones.
Weights = Literal["auto", "averaged", "trained"]

#: Entries that hold weights as they were trained, and entries that hold their average.
TRAINED = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module")
AVERAGED = (
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "ema_model",
    "model_ema_state_dict",
)
#: Dictionaries around a state dict, one in another.
DEEPEST = 4


@dataclass(frozen=True)
class Packed:
    """The tensors of a checkpoint and how they were packed.

    tensors: by their keys in the file. origin: the file and the entry in it. wrappers: what was
    recognised around them. weights: of which kind they are, where the file tells the two apart.
    both: whether it holds the other too.
    """

    tensors: dict[str, Any]
    origin: str
    wrappers: tuple[str, ...] = ()
    weights: Kind | None = None
    both: bool = False


def read_packed(
    source: str | Path | Mapping[str, Any], weights: Weights = "auto", needed: int = 0
) -> Packed:
    """Find the state dict in a file or a mapping, whatever it came in.

    weights: which to take where there are trained and averaged ones. needed: see `read_file`.
    Raises CheckpointError where there is no state dict, or more than one.
    """
    if isinstance(source, Mapping):
        content, origin = source, "a mapping"
    else:
        content, origin = read_file(Path(source), needed), str(source)
    found = Packed({}, origin, _formats(content))
    for _ in range(DEEPEST):
        entries = _entries(content)
        if not entries:
            break
        key, found = _choose(entries, weights, found)
        content = content[key]
    return replace(found, tensors=_tensors(content, found.origin))


def _formats(content: Mapping[Any, Any]) -> tuple[str, ...]:
    """The program that wrote a checkpoint, where its entries show it."""
    meta = content.get("meta")
    formats = {
        "Lightning": "pytorch-lightning_version" in content,
        "timm": {"state_dict", "arch", "version"} <= content.keys(),
        "MMEngine": "message_hub" in content
        or (isinstance(meta, Mapping) and "mmengine_version" in meta),
        "DeepSpeed": "ds_version" in content,
    }
    return tuple(name for name, found in formats.items() if found)


def _entries(content: Mapping[Any, Any]) -> dict[str, Kind]:
    """Entries of a container that hold weights, and which weights these are."""
    found: dict[str, Kind] = {key: "trained" for key in TRAINED if _holds_tensors(content.get(key))}
    found |= {key: "averaged" for key in AVERAGED if _holds_tensors(content.get(key))}
    if "MMEngine" in _formats(content) and {"state_dict", "ema_state_dict"} <= found.keys():
        # its EMA hook exchanges the two before it saves
        found |= {"state_dict": "averaged", "ema_state_dict": "trained"}
    return found


def _holds_tensors(content: Any, depth: int = DEEPEST) -> bool:
    if not isinstance(content, Mapping) or not depth:
        return False
    if any(isinstance(value, Tensor) for value in content.values()):
        return True
    return any(_holds_tensors(content.get(key), depth - 1) for key in (*TRAINED, *AVERAGED))


def _choose(entries: dict[str, Kind], weights: Weights, found: Packed) -> tuple[str, Packed]:
    kinds = set(entries.values())
    averaged = "averaged" in kinds
    wanted = pick_weights(kinds, weights, found.origin) if averaged else "trained"
    keys = [key for key, kind in entries.items() if kind == wanted]
    if len(keys) > 1:
        raise CheckpointError(
            f"{found.origin} holds more than one set of weights: {', '.join(map(repr, keys))}. "
            "Load it with "
            "torch.load(..., weights_only=True) and pass the one you mean"
        )
    if averaged:
        found = replace(found, weights=wanted, both=len(kinds) > 1)
    return keys[0], replace(found, origin=f"{found.origin} [{keys[0]!r}]")


def pick_weights(kinds: set[Kind], weights: Weights, origin: str) -> Kind:
    """Which of the weights in a file to take. CheckpointError where it has not those that were
    asked for."""
    if weights == "auto":
        return "trained" if "trained" in kinds else "averaged"
    if weights not in kinds:
        has = "only averaged weights (EMA)" if weights == "trained" else "no averaged weights (EMA)"
        raise CheckpointError(f"{origin} holds {has}, and {weights} ones were asked for")
    return weights


def _tensors(content: Mapping[Any, Any], origin: str) -> dict[str, Tensor]:
    """The content as a state dict. CheckpointError where it is none."""
    odd = [key for key in content if not isinstance(key, str)]
    if odd:
        kinds = ", ".join(sorted({type(key).__name__ for key in odd}))
        raise CheckpointError(
            f"{origin} is no state dict: {len(odd)} of its {len(content)} keys are no text "
            f"({kinds}); expected "
            "tensors by name"
        )
    others = sorted(key for key, value in content.items() if not isinstance(value, Tensor))
    if others or not content:
        raise CheckpointError(
            f"{origin} is no state dict: expected tensors by name (or a container with "
            "'state_dict', 'model' ...), "
            f"found {len(content) - len(others)} tensors and the other entries "
            f"{[key[:80] for key in others[:8]]}"
        )
    return dict(content)
