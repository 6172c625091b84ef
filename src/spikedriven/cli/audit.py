"""Check whether a network is addition-only: every product, its operands, and whether folding
removes it.

Example:

    spikedriven audit sdt_8_512
    spikedriven audit e_spikeformer_10m --brief       (the verdict, and only the rows to act on)
    spikedriven audit e_spikeformer_10m --form expanded   (the network of binary spikes that
    `expand` makes of it) spikedriven audit runs/quickstart --json

The verdict follows from the graph of the network, not from any number in it. So random weights give
the same report as trained ones; a note says which they were. The exit status is 0 if the network is
addition-only after folding, apart from its first layer, and 1 if it is not. A network without a
spiking neuron gets no verdict, and status 1.
"""

import json
from dataclasses import dataclass
from typing import Any

from spikedriven.cli.arguments import parse
from spikedriven.graph.audit import audit
from spikedriven.graph.forms import Form, in_form
from spikedriven.runs.target import Target, load_target

NO_WEIGHTS = (
    "NO TRAINED WEIGHTS: the audit reads none, so this verdict is that of every file of weights"
)


@dataclass(frozen=True)
class Arguments(Target):
    form: Form = "released"
    """The network as its authors released it, folded (`fuse`), or as binary spikes (`expand`)."""
    brief: bool = False
    """Only the rows to act on: leave out what adds already, and batch norms that fold."""
    json: bool = False
    """Print JSON instead of a table."""


def run(argv: list[str]) -> int:
    """Parse `argv`, audit, print; 1 where folding cannot make the network addition-only."""
    arguments = parse(Arguments, argv, "audit", __doc__)
    weightless = (
        arguments.checkpoint is None and arguments.form == "released"
    )  # folding reads weights
    loaded = load_target(arguments, device="meta" if weightless else "cpu")
    # not checked for equality here: the audit reads no weight
    model: Any = in_form(loaded.model, arguments.form, check=False)
    report = audit(model, model.example_input())
    if arguments.json:
        print(json.dumps({"trained": loaded.trained} | report.to_dict(), indent=1))
    else:
        note = "" if loaded.trained else f"{NO_WEIGHTS}\n"
        print(f"{note}{report.brief() if arguments.brief else report}")
    return int(not report.ok)
