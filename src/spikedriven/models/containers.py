"""What a checkpoint is packed in: the dictionaries that training scripts put around a state dict, and the prefixes
that wrappers put before its keys.

Recognised are those of timm, Lightning, MMEngine, DeepSpeed, torchvision's reference scripts and Hugging Face, of
DataParallel, torch.compile, FSDP and activation checkpointing, of averaged weights (EMA), and any of them inside
another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from spikedriven.errors import CheckpointError
from spikedriven.models.unpickle import read_file

Weights = Literal["raw", "ema"]
#: Key in the file -> the name it stands for, and what was removed to get it.
Keys = dict[str, tuple[str, tuple[str, ...]]]

#: Entries that hold weights as they were trained, and entries that hold their average.
RAW = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module")
EMA = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema_model", "model_ema_state_dict")
#: Parts of a key that wrappers put anywhere in it.
INSIDE = {
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "activation checkpointing",
}
#: What wrappers put before every key.
BEFORE = {
    "module.": "DataParallel or DistributedDataParallel",
    "model.": "Lightning or Hugging Face",
    "net.": "a wrapper's attribute net",
    "network.": "a wrapper's attribute network",
    "timm_model.": "Hugging Face",
}
BEFORE_EMA = ("ema.", "ema_model.", "model_ema.")
#: Counters beside averaged weights: of torch.optim.swa_utils and of MMEngine.
COUNTERS = ("n_averaged", "steps")
#: Dictionaries around a state dict, one in another.
DEEPEST = 4


@dataclass(frozen=True)
class Packed:
    """The tensors of a checkpoint and how they were packed.

    tensors: by their keys in the file. origin: the file and the entry in it. wrappers: what was recognised around
    them. weights: "raw" or "ema", where the file tells the two apart. both: whether it holds the other too.
    """

    tensors: dict[str, Any]
    origin: str
    wrappers: tuple[str, ...] = ()
    weights: Weights | None = None
    both: bool = False


def read_packed(source: str | Path | Mapping[str, Any], weights: Weights | None = None, needed: int = 0) -> Packed:
    """Find the state dict in a file or a mapping, whatever it came in.

    weights: which to take where there are raw and averaged ones; None: raw ones, unless there are only averaged ones.
    needed: see `read_file`. Raises CheckpointError where there is no state dict, or more than one.
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
        "MMEngine": "message_hub" in content or (isinstance(meta, Mapping) and "mmengine_version" in meta),
        "DeepSpeed": "ds_version" in content,
    }
    return tuple(name for name, found in formats.items() if found)


def _entries(content: Mapping[Any, Any]) -> dict[str, Weights]:
    """Entries of a container that hold weights, and which weights these are."""
    found: dict[str, Weights] = {key: "raw" for key in RAW if _holds_tensors(content.get(key))}
    found |= {key: "ema" for key in EMA if _holds_tensors(content.get(key))}
    if "MMEngine" in _formats(content) and {"state_dict", "ema_state_dict"} <= found.keys():
        # its EMA hook exchanges the two before it saves
        found |= {"state_dict": "ema", "ema_state_dict": "raw"}
    return found


def _holds_tensors(content: Any, depth: int = DEEPEST) -> bool:
    if not isinstance(content, Mapping) or not depth:
        return False
    if any(isinstance(value, Tensor) for value in content.values()):
        return True
    return any(_holds_tensors(content.get(key), depth - 1) for key in (*RAW, *EMA))


def _choose(entries: dict[str, Weights], weights: Weights | None, found: Packed) -> tuple[str, Packed]:
    kinds = set(entries.values())
    averaged = "ema" in kinds
    wanted = pick_weights(kinds, weights, found.origin) if averaged else "raw"
    keys = [key for key, kind in entries.items() if kind == wanted]
    if len(keys) > 1:
        raise CheckpointError(
            f"{found.origin} holds more than one set of weights: {', '.join(map(repr, keys))}. Load it with "
            "torch.load(..., weights_only=True) and pass the one you mean"
        )
    if averaged:
        found = replace(found, weights=wanted, both=len(kinds) > 1)
    return keys[0], replace(found, origin=f"{found.origin} [{keys[0]!r}]")


def pick_weights(kinds: set[Weights], weights: Weights | None, origin: str) -> Weights:
    """Which of the weights in a file to take. CheckpointError where it has not those that were asked for."""
    if weights is None:
        return "raw" if "raw" in kinds else "ema"
    if weights not in kinds:
        has = "only averaged weights (ema)" if weights == "raw" else "no averaged weights (ema)"
        raise CheckpointError(f"{origin} holds {has}; leave weights={weights!r} out to take what it has")
    return weights


def _tensors(content: Mapping[Any, Any], origin: str) -> dict[str, Tensor]:
    """The content as a state dict. CheckpointError where it is none."""
    odd = [key for key in content if not isinstance(key, str)]
    if odd:
        kinds = ", ".join(sorted({type(key).__name__ for key in odd}))
        raise CheckpointError(
            f"{origin} is no state dict: {len(odd)} of its {len(content)} keys are no text ({kinds}); expected "
            "tensors by name"
        )
    others = sorted(key for key, value in content.items() if not isinstance(value, Tensor))
    if others or not content:
        raise CheckpointError(
            f"{origin} is no state dict: expected tensors by name (or a container with 'state_dict', 'model' ...), "
            f"found {len(content) - len(others)} tensors and the other entries {[key[:80] for key in others[:8]]}"
        )
    return dict(content)


def strip_wrappers(packed: Packed, known: Callable[[str], bool], weights: Weights | None = None) -> Packed:
    """Remove what wrappers put into the keys, as far as it makes them names that the network has.

    known: whether the network has a name. Keys that no removal makes known stay as they are. weights: as for
    `read_packed`. Raises CheckpointError where two keys become one, or where the wanted weights are not there.
    """
    keys = {key: _strip(key, known) for key in packed.tensors}
    packed, keys = _without_counters(*_one_of_both(packed, keys, known, weights), known)
    if weights is not None:
        pick_weights({packed.weights or "raw"}, weights, packed.origin)
    return _renamed(packed, keys)


def _one_of_both(
    packed: Packed, keys: Keys, known: Callable[[str], bool], weights: Weights | None
) -> tuple[Packed, Keys]:
    """Raw or averaged weights, where one state dict holds both under their prefixes."""
    averaged = {key for key, (_, parts) in keys.items() if set(parts) & set(BEFORE_EMA)}
    if not averaged:
        return packed, keys
    raw = any(key not in averaged and known(name) for key, (name, _) in keys.items())
    wanted = pick_weights({"ema", "raw"} if raw else {"ema"}, weights, packed.origin)
    if raw:
        keys = {key: value for key, value in keys.items() if (key in averaged) == (wanted == "ema")}
    return replace(packed, weights=wanted, both=packed.both or raw), keys


def _without_counters(packed: Packed, keys: Keys, known: Callable[[str], bool]) -> tuple[Packed, Keys]:
    """How often an average was updated is no weight."""
    counters = [key for key in COUNTERS if key in keys and not known(key) and len(keys) > 1]
    if not counters:
        return packed, keys
    wrappers = (*packed.wrappers, f"averaged model ({', '.join(counters)})")
    packed = replace(packed, wrappers=wrappers, weights=packed.weights or "ema")
    return packed, {key: value for key, value in keys.items() if key not in counters}


def _strip(key: str, known: Callable[[str], bool]) -> tuple[str, tuple[str, ...]]:
    """The name that a wrapped key stands for, and what was removed from it."""
    name, removed = key, []
    while not known(name):
        part = next((part for part in INSIDE if part in name), None)
        part = part or next((part for part in (*BEFORE, *BEFORE_EMA) if name.startswith(part)), None)
        if part is None:
            return key, ()
        name = name.replace(part, "") if part in INSIDE else name.removeprefix(part)
        removed.append(part)
    return name, tuple(removed)


def _renamed(packed: Packed, keys: Keys) -> Packed:
    tensors: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, (name, _) in keys.items():
        if name in origin:
            raise CheckpointError(
                f"{packed.origin} holds {name!r} twice: as {origin[name]!r} and as {key!r}. Keep the one you mean"
            )
        origin[name], tensors[name] = key, packed.tensors[key]
    removed = dict.fromkeys(part for _, parts in keys.values() for part in parts)
    named = [f"prefix {part} ({(INSIDE | BEFORE).get(part, 'averaged weights')})" for part in removed]
    return replace(packed, tensors=tensors, wrappers=(*packed.wrappers, *named))
