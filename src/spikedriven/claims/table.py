"""The whole table, in the order of the publications."""

from itertools import chain

from spikedriven.claims.claim import PUBLICATIONS, Claim
from spikedriven.claims.files import claims_of_files
from spikedriven.claims.fired_rows import QKFORMER_ROWS, SPIKFORMER_ROWS
from spikedriven.claims.rows import ESPIKE_ROWS, META_ROWS, SDT_ROWS, SPIKINGFORMER_ROWS


def all_claims() -> list[Claim]:
    """Every figure; nothing is computed before `Claim.value` is asked for."""
    rows = (SDT_ROWS, META_ROWS, ESPIKE_ROWS, SPIKFORMER_ROWS, SPIKINGFORMER_ROWS, QKFORMER_ROWS)
    found = [*claims_of_files(), *chain.from_iterable(rows)]
    return sorted(found, key=lambda claim: PUBLICATIONS.index(claim.publication))
