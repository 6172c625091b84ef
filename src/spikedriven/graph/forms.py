"""The forms of a network: as its authors released it, folded, or as binary spikes. One list for
every command."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from spikedriven.errors import InputError
from spikedriven.graph.audit import FOLDS, audit
from spikedriven.graph.expand import expand
from spikedriven.graph.fuse import fuse
from spikedriven.graph.inputs import Inputs
from spikedriven.graph.nodes import SpikeGraph
from spikedriven.graph.paths import WEIGHT_LAYERS

Form = Literal["released", "folded", "expanded"]

_MAKE: dict[str, Callable[[nn.Module, Inputs | None, bool], nn.Module]] = {
    "released": lambda model, example, check: model,
    "folded": fuse,
    "expanded": expand,
}


def in_form(
    model: nn.Module, form: Form, example: Inputs | None = None, check: bool = True
) -> nn.Module:
    """The model in a form: itself, what `fuse` makes of it, or what `expand` makes. example, check:
    as there."""
    if form not in _MAKE:
        raise InputError(f"form {form!r} is not known; choose one of {', '.join(_MAKE)}")
    return _MAKE[form](model, example, check)


def natural_form(graph: SpikeGraph) -> Form:
    """The form that runs: folded, where weight layers multiply real values as released and no
    longer after folding.

    That is the case for Meta-SpikeFormer (RepConv and separable chains) and E-SpikeFormer (RepConv,
    or counts divided by a norm). Where only batch norms and attention scales fold, no weight layer
    changes: released.
    """
    to_fold = (row for row in audit(graph).rows if row.op in WEIGHT_LAYERS and row.verdict == FOLDS)
    return "folded" if any(to_fold) else "released"
