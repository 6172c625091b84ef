"""`fuse` and `expand` on networks as strangers write them: the same function, and nothing left
to fold.
"""

import warnings

import pytest
from torch.nn.modules.batchnorm import _BatchNorm

import spikedriven as sd
from spikedriven.graph.audit import BROKEN, audit
from spikedriven.graph.equality import check_equal, check_input, exact_copy
from spikedriven.graph.substeps import value_of
from tests.foreign.networks import FOREIGN

COUNTING = [one for one in FOREIGN if one.levels > 1]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_fused_networks_compute_the_same_and_keep_no_norm(foreign):
    model, example = foreign.make(), foreign.inputs(2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fused = sd.fuse(model, example)  # compares what every neuron reads
    assert (
        tuple(name for name, m in fused.named_modules() if isinstance(m, _BatchNorm))
        == foreign.kept
    )
    report = audit(fused, example)
    left = [row.module for row in report.folded if row.op in ("scale", "batchnorm")]
    # what would fold and stays is told: here, literals at the very end, and norms that nothing
    # takes
    assert len(told) == (1 if left or foreign.kept else 0)
    assert set(left) <= {""}
    found = sorted((row.module, row.op) for row in report.rows if row.verdict == BROKEN)
    assert found == sorted(foreign.findings)


@pytest.mark.parametrize("foreign", COUNTING, ids=str)
def test_expanded_networks_compute_the_same_on_spikes(foreign):
    model, example = exact_copy(foreign.make()), foreign.inputs(2)
    spiking = sd.expand(model, example, check=False)
    check_equal(model, spiking, check_input(model, example), reads=value_of)
    report = audit(spiking, check_input(model, example))
    assert report.ok and not report.folded
