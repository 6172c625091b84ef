"""Operators that move values or cut them: what they make of a `SubSteps`, plane by plane."""

from typing import Any

import torch
from torch import Tensor

from spikedriven.graph.substeps import SubSteps, called_name, plane_by_plane, rule

# Values that move
# ------------------------------------------------------------------------------------------------


def _shifted(dims: Any) -> Any:
    """Axes of the value as axes of the planes."""
    if isinstance(dims, list | tuple):
        return [_shifted(dim) for dim in dims]
    return dims + 1 if isinstance(dims, int) and dims >= 0 else dims


#: Functions whose integers are axes -> the names of those arguments, in their order; "*" takes all
#: that follow.
_AXES = {
    "flatten": ("start_dim", "end_dim"),
    "unsqueeze": ("dim",),
    "transpose": ("dim0", "dim1"),
    "swapaxes": ("axis0", "axis1"),
    "movedim": ("source", "destination"),
    "flip": ("dims*",),
    "permute": ("dims*",),
}
_DEFAULTS: dict[str, dict[str, Any]] = {"flatten": {"start_dim": 0, "end_dim": -1}}


@rule(" ".join(_AXES))
def _move_axes(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    name = called_name(func)
    names = _AXES[name]
    if names[0].endswith("*"):
        dims = kwargs.get(
            names[0].rstrip("*"), given[0] if given and not isinstance(given[0], int) else given
        )
        moved = _shifted([dim % x.ndim for dim in dims])
        return x.like(
            torch.permute(x.planes, [0, *moved])
            if name == "permute"
            else torch.flip(x.planes, moved)
        )
    found = {**_DEFAULTS.get(name, {}), **dict(zip(names, given, strict=False)), **kwargs}
    return x.like(
        getattr(torch, name)(x.planes, **{key: _shifted(dim) for key, dim in found.items()})
    )


@rule("T mT H mH t")
def _transposed(func: Any, args: tuple, kwargs: dict) -> Any:
    (x,) = args
    if called_name(func) in ("T", "t") and x.ndim != 2:
        return NotImplemented
    return x.like(x.planes.transpose(-1, -2))


@rule("reshape view expand view_as reshape_as expand_as unflatten broadcast_to")
def _resize(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    name = called_name(func)
    if name == "unflatten":
        dim, sizes = (
            kwargs.get("dim", given[0] if given else None),
            kwargs.get("sizes", given[-1]),
        )
        return x.like(x.planes.unflatten(_shifted(dim), sizes))
    sizes = given[0] if given and not isinstance(given[0], int | torch.SymInt) else given
    sizes = kwargs.get("shape", kwargs.get("size", sizes))
    if isinstance(sizes, torch.dtype):
        return NotImplemented
    if isinstance(sizes, Tensor):
        sizes = sizes.shape
    if name in ("expand", "expand_as", "broadcast_to"):
        new = len(sizes) - x.ndim
        planes = x.planes.reshape(x.levels, *[1] * new, *x.shape)
        return x.like(planes.expand(x.levels, *sizes))
    return x.like(x.planes.reshape(x.levels, *sizes))


@rule(
    "contiguous clone detach to float double half bfloat16 type type_as dropout dropout1d "
    "dropout2d dropout3d"
    " alpha_dropout feature_dropout identity alias lift_fresh"
)
def _same(func: Any, args: tuple, kwargs: dict) -> Any:
    x, *given = args
    name = called_name(func)
    if name.endswith("dropout") or name.startswith("dropout"):
        training = kwargs.get("training", given[1] if len(given) > 1 else True)
        return NotImplemented if training else x
    if "memory_format" in kwargs:
        return x
    return x.like(func(x.planes, *given, **kwargs))


@rule("squeeze chunk split unbind select narrow index_select repeat_interleave roll tensor_split")
def _parts(func: Any, args: tuple, kwargs: dict) -> Any:
    """Plane by plane: what comes out in several parts does so in every plane."""
    x, *given = args
    return plane_by_plane(func, x, tuple(given), kwargs)


@rule("__getitem__")
def _index(func: Any, args: tuple, kwargs: dict) -> Any:
    x, index = args
    index = index if isinstance(index, tuple) else (index,)
    simple = all(isinstance(i, int | slice | type(None) | type(...) | torch.SymInt) for i in index)
    if simple:
        return x.like(x.planes[(slice(None), *index)])
    return plane_by_plane(func, x, (index,), kwargs)


@rule("__iter__")
def _iterate(func: Any, args: tuple, kwargs: dict) -> Any:
    (x,) = args
    return iter([x.like(x.planes[:, i]) for i in range(x.shape[0])])


@rule("cat concat concatenate stack")
def _join(func: Any, args: tuple, kwargs: dict) -> Any:
    parts, *given = args
    first = parts[0]
    if not all(_alike(first, part) for part in parts):
        return NotImplemented
    dim = kwargs.get("dim", given[0] if given else 0)
    ordered = all(part.ordered for part in parts)
    return first.like(func([part.planes for part in parts], dim=_shifted(dim)), ordered=ordered)


def _alike(one: Any, other: Any) -> bool:
    both = isinstance(one, SubSteps) and isinstance(other, SubSteps)
    return both and (one.levels, one.unit, one.binary) == (other.levels, other.unit, other.binary)


@rule("pad")
def _pad(func: Any, args: tuple, kwargs: dict) -> Any:
    x, pads, *rest = args
    mode, value = (
        kwargs.get("mode", rest[0] if rest else "constant"),
        kwargs.get("value", (*rest, None, None)[1]),
    )
    if mode != "constant" or value:
        return NotImplemented
    return x.like(func(x.planes, pads))


# Windows and means
# -----------------------------------------------------------------------------------------------
