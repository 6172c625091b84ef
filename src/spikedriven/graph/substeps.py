"""A count as its binary sub-steps: what an expanded neuron hands to the forward that a user wrote
for counts.

`SubSteps` looks to a forward like the count it stands for, shape included, and carries D planes
whose sum it is. Operators that move values do so in every plane. A weight layer reads the binary
planes, accumulates ``W s_d`` over d and adds its bias once; of a product one operand stays binary
and the other is accumulated first. Any other operator gets the accumulated value. So time may be
folded, looped over or averaged in whatever way; nothing in a forward has to know of sub-steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

Rule = Callable[[Callable, tuple, dict], Any]
_RULES: dict[str, Rule] = {}


class SubSteps(Tensor):
    """The value ``unit * sum of planes``.

    unit: what one count is worth. binary: the planes hold 0 and 1. ordered: plane d holds 1 where
    the count is at least d, so that a maximum of counts is the sum of the planes' maxima.
    """

    unit: float
    binary: bool
    ordered: bool

    @staticmethod
    def __new__(
        cls, planes: Tensor, unit: float = 1.0, binary: bool = True, ordered: bool = True
    ) -> "SubSteps":
        made = _empty(cls, planes, planes.shape[1:])
        made.unit, made.binary, made.ordered, made._planes = unit, binary, ordered, planes
        return made

    @classmethod
    def put_out(cls, steps: Tensor, shape: Sequence[int], levels: int, unit: float) -> "SubSteps":
        """Of a neuron's steps [T * levels, ...] for an input of this shape. Nothing is computed
        before it is read, so that nothing is added to the neuron's own operators.
        """
        made = _empty(cls, steps, shape)
        made.unit, made.binary, made.ordered, made._steps = unit, True, True, (steps, levels)
        return made

    @classmethod
    def total(cls, counts: Tensor, unit: float) -> "SubSteps":
        """One plane that holds whole numbers: an accumulated product or sum."""
        made = _empty(cls, counts, counts.shape)
        made.unit, made.binary, made.ordered, made._total = unit, False, False, counts
        return made

    _planes: Tensor | None = None
    _steps: tuple[Tensor, int] | None = None
    _total: Tensor | None = None

    @property
    def planes(self) -> Tensor:
        """[D, *shape]."""
        if self._planes is None and self._steps is not None:
            steps, levels = self._steps
            self._planes = steps.unflatten(0, (-1, levels)).movedim(1, 0)
        elif self._planes is None and self._total is not None:
            self._planes = self._total.unsqueeze(0)
        assert self._planes is not None
        return self._planes

    @property
    def levels(self) -> int:
        """D."""
        return self._steps[1] if self._steps is not None else self.planes.shape[0]

    def like(self, planes: Tensor, **changed: Any) -> "SubSteps":
        """Other planes of the same kind."""
        return SubSteps(
            planes, **{"unit": self.unit, "binary": self.binary, "ordered": self.ordered, **changed}
        )

    def with_unit(self, unit: float) -> "SubSteps":
        """The same planes, of another worth."""
        if self._total is not None:
            return SubSteps.total(self._total, unit)
        return self.like(self.planes, unit=unit)

    def counts(self) -> Tensor:
        """The sum of the planes, without the unit."""
        return self.planes.sum(0) if self._total is None else self._total

    def value(self) -> Tensor:
        """What it stands for, as an ordinary tensor."""
        return self.counts() if self.unit == 1.0 else self.counts() * self.unit

    def steps(self) -> Tensor:
        """As the neuron puts it out: [T * D, ...], the sub-steps of one time step in a row."""
        return self.planes.movedim(0, 1).flatten(0, 1)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"SubSteps({list(self.shape)}, levels={self.levels}, unit={self.unit:g})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            name = called_name(func)
            if name in _METADATA:
                return func(*args, **kwargs)
            rule = _RULES.get(name)
            found = NotImplemented if rule is None else rule(func, args, kwargs)
            return _on_values(func, args, kwargs) if found is NotImplemented else found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _on_values(func, args, kwargs or {})


def _empty(cls: type, like: Tensor, shape: Sequence[int]) -> Any:
    return Tensor._make_wrapper_subclass(cls, shape, dtype=like.dtype, device=like.device)  # type: ignore[attr-defined]


def value_of(x: Any) -> Any:
    """The ordinary tensor that stands behind x; x itself where it is no `SubSteps`."""
    return x.value() if isinstance(x, SubSteps) else x


def as_steps(x: Tensor) -> Tensor:
    """A map of spikes as its neuron put it out: [T, ...], or [T * D, ...] behind an expanded
    neuron.
    """
    return x.steps() if isinstance(x, SubSteps) else x


class PutOut:
    """Hook behind an expanded neuron: its binary steps [T * D, ...] as `SubSteps` [T, ...]."""

    def __init__(self, levels: int, unit: float) -> None:
        self.levels, self.unit = levels, unit

    def __call__(self, module: nn.Module, inputs: Any, steps: Tensor) -> SubSteps:
        return SubSteps.put_out(steps, inputs[0].shape, self.levels, self.unit)


class WithoutUnit:
    """Hook in front of a module that has taken over the unit of what it reads: a weight layer reads
    whole counts.

    accumulate: for a neuron, which reads an ordinary tensor.
    """

    def __init__(self, accumulate: bool) -> None:
        self.accumulate = accumulate

    def __call__(self, module: nn.Module, args: tuple) -> tuple:
        x, *rest = args
        if isinstance(x, SubSteps):
            x = x.counts() if self.accumulate else x.with_unit(1.0)
        return (x, *rest)


_METADATA = frozenset(
    (
        "shape",
        "ndim",
        "dtype",
        "device",
        "layout",
        "requires_grad",
        "grad_fn",
        "is_cuda",
        "is_sparse",
        "is_quantized",
        "is_leaf",
        "names",
        "size",
        "dim",
        "stride",
        "numel",
        "nelement",
        "element_size",
        "is_floating_point",
        "is_complex",
        "is_contiguous",
        "__len__",
        "__hash__",
        "__repr__",
        "requires_grad_",
        "storage_offset",
        "get_device",
    )
)


def called_name(func: Any) -> str:
    """``"flatten"`` for the method and the function, ``"mT"`` for the property, ``"add"`` for
    operators of every spelling.
    """
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        return func.__self__.__name__
    if name.startswith("__") and name.strip("_") in _OPERATORS:
        return _OPERATORS[name.strip("_")]
    return name if name.startswith("__") else name.rstrip("_")


_OPERATORS = {
    "add": "add",
    "radd": "add",
    "iadd": "add",
    "mul": "mul",
    "rmul": "mul",
    "imul": "mul",
    "matmul": "matmul",
    "rmatmul": "rmatmul",
    "truediv": "div",
    "itruediv": "div",
    "multiply": "mul",
    "divide": "div",
}


def _on_values(func: Any, args: tuple, kwargs: dict) -> Any:
    return func(*tree_map(value_of, args), **tree_map(value_of, kwargs))


def rule(names: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule for functions of these names. It may return NotImplemented."""

    def register(function: Rule) -> Rule:
        for name in names.split():
            _RULES[name] = function
        return function

    return register


def only_first(args: tuple, kwargs: dict) -> bool:
    """Whether the first argument is the only `SubSteps`."""
    others = tree_leaves((args[1:], kwargs))
    return isinstance(args[0], SubSteps) and not any(
        isinstance(other, SubSteps) for other in others
    )


def plane_by_plane(func: Any, x: SubSteps, given: tuple, kwargs: dict, **changed: Any) -> Any:
    made = [func(plane, *given, **kwargs) for plane in x.planes.unbind(0)]
    if isinstance(made[0], Tensor):
        return x.like(torch.stack(made), **changed)
    return tuple(x.like(torch.stack(parts), **changed) for parts in zip(*made, strict=True))
