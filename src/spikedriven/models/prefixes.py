"""What wrappers of a network put into the keys of its state dict, and how it is taken out.

Recognised are the prefixes of DataParallel, torch.compile, FSDP, activation checkpointing,
Lightning, Hugging Face and averaged weights (EMA), in any order. A prefix is only taken off where
it leaves a name that the network has, so that a network with a layer called ``model`` keeps it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spikedriven.errors import CheckpointError
from spikedriven.models.containers import Packed, Weights, pick_weights

#: Key in the file -> the name it stands for, and what was removed to get it.
Keys = dict[str, tuple[str, tuple[str, ...]]]
#: Whether the network has a name.
Known = Callable[[str], bool]

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
BEFORE_AVERAGED = {
    "ema.": "averaged weights",
    "ema_model.": "averaged weights",
    "model_ema.": "averaged weights",
}
#: Counters beside averaged weights: of torch.optim.swa_utils and of MMEngine.
COUNTERS = ("n_averaged", "steps")


def strip_wrappers(packed: Packed, known: Known, weights: Weights = "auto") -> Packed:
    """Remove what wrappers put into the keys, as far as it makes them names that the network has.

    known: whether the network has a name. Other keys lose the prefixes that its own names lost.
    weights: as for `read_packed`. Raises CheckpointError where two keys become one, or where the
    wanted weights are not there.
    """
    keys = _like_the_others({key: _strip(key, known) for key in packed.tensors}, known)
    packed, keys = _without_counters(*_of_one_kind(packed, keys, known, weights), known)
    pick_weights({packed.weights or "trained"}, weights, packed.origin)
    return _renamed(packed, keys)


def _strip(key: str, known: Known) -> tuple[str, tuple[str, ...]]:
    """The name that a wrapped key stands for, and what was removed from it."""
    name, removed = key, []
    while not known(name):
        part = _part(name, (*INSIDE, *BEFORE, *BEFORE_AVERAGED))
        if not part:
            return key, ()
        name = _without(name, part)
        removed.append(part)
    return name, tuple(removed)


def _part(name: str, parts: tuple[str, ...]) -> str:
    """The first of these parts that can be taken out of a name; "": none."""
    return next(
        (part for part in parts if (part in name if part in INSIDE else name.startswith(part))), ""
    )


def _without(name: str, part: str) -> str:
    return name.replace(part, "") if part in INSIDE else name.removeprefix(part)


def _is_averaged(removed: tuple[str, ...]) -> bool:
    return any(part in BEFORE_AVERAGED for part in removed)


def _like_the_others(keys: Keys, known: Known) -> Keys:
    """Keys that the network does not have lose the prefixes that its own keys lost, unless two
    would become one."""
    prefixes = tuple({part for _, removed in keys.values() for part in removed})
    taken = {(name, _is_averaged(removed)) for name, removed in keys.values()}
    found = dict(keys)
    for key, (name, removed) in keys.items():
        while not known(name) and (part := _part(name, prefixes)):
            name, removed = _without(name, part), (*removed, part)
        if removed and (name, _is_averaged(removed)) not in taken:
            taken.add((name, _is_averaged(removed)))
            found[key] = (name, removed)
    return found


def _of_one_kind(packed: Packed, keys: Keys, known: Known, weights: Weights) -> tuple[Packed, Keys]:
    """Trained or averaged weights, where one state dict holds both under their prefixes."""
    averaged = {key for key, (_, removed) in keys.items() if _is_averaged(removed)}
    if not averaged:
        return packed, keys
    both = any(key not in averaged and known(name) for key, (name, _) in keys.items())
    wanted = pick_weights({"averaged", "trained"} if both else {"averaged"}, weights, packed.origin)
    if both:
        keys = {
            key: value for key, value in keys.items() if (key in averaged) == (wanted == "averaged")
        }
    return replace(packed, weights=wanted, both=packed.both or both), keys


def _without_counters(packed: Packed, keys: Keys, known: Known) -> tuple[Packed, Keys]:
    """How often an average was updated is no weight."""
    counters = [key for key in COUNTERS if key in keys and not known(key) and len(keys) > 1]
    if not counters:
        return packed, keys
    wrappers = (*packed.wrappers, f"averaged model ({', '.join(counters)})")
    packed = replace(packed, wrappers=wrappers, weights=packed.weights or "averaged")
    return packed, {key: value for key, value in keys.items() if key not in counters}


def _renamed(packed: Packed, keys: Keys) -> Packed:
    tensors: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, (name, _) in keys.items():
        if name in origin:
            raise CheckpointError(
                f"{packed.origin} holds {name!r} twice: as {origin[name]!r} and as {key!r}. Keep "
                "the one you mean"
            )
        origin[name], tensors[name] = key, packed.tensors[key]
    removed = dict.fromkeys(part for _, parts in keys.values() for part in parts)
    named = [f"prefix {part} ({(INSIDE | BEFORE | BEFORE_AVERAGED)[part]})" for part in removed]
    return replace(packed, tensors=tensors, wrappers=(*packed.wrappers, *named))
