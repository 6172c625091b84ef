"""Is a network addition-only? Every product, what its operands are, and whether folding removes the multiplication.

Example:

    spikedriven audit sdt_8_512
    spikedriven audit e_spikeformer_10m --brief       (the verdict, and only the rows to act on)
    spikedriven audit e_spikeformer_10m --form expanded   (the network of binary spikes that `expand` makes of it)
    spikedriven audit runs/quickstart --json

No number decides: kinds of values follow from where they come from, so random weights give the same report.
The exit status is 0 where the network is addition-only after folding (apart from its encoding layer), else 1.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from spikedriven.cli.arguments import parse
from spikedriven.graph.audit import audit
from spikedriven.graph.expand import expand
from spikedriven.graph.fuse import fuse
from spikedriven.training.target import Target, load_target


@dataclass(frozen=True)
class Arguments(Target):
    form: Literal["released", "fused", "expanded"] = "released"
    """The network as its authors released it, after `fuse`, or after `expand`."""
    brief: bool = False
    """Only the rows to act on: leave out what needs no multiplication, and batch norms that fold."""
    json: bool = False
    """Print JSON instead of a table."""


#: The folded forms are not checked for equality here: the audit reads no weight.
FORMS: dict[str, Callable[[Any], Any]] = {
    "released": lambda model: model,
    "fused": lambda model: fuse(model, check=False),
    "expanded": lambda model: expand(model, check=False),
}


def run(argv: list[str]) -> int:
    """Parse `argv`, audit, print; 1 where folding cannot make the network addition-only."""
    arguments = parse(Arguments, argv, "audit", __doc__)
    weightless = arguments.checkpoint is None and arguments.form != "expanded"
    model = FORMS[arguments.form](load_target(arguments, device="meta" if weightless else "cpu").model)
    report = audit(model, model.example_input())
    if arguments.json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        print(report.brief() if arguments.brief else report)
    return int(not report.ok)
