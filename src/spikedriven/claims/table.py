"""The whole table, in the order of the publications."""

from spikedriven.claims.claim import PUBLICATIONS, Claim
from spikedriven.claims.files import claims_of_files
from spikedriven.claims.rows import ESPIKE_ROWS, META_ROWS, SDT_ROWS, SPIKINGFORMER_ROWS


def all_claims() -> list[Claim]:
    """Every figure; nothing is computed before `Claim.value` is asked for."""
    found = [*claims_of_files(), *SDT_ROWS, *META_ROWS, *ESPIKE_ROWS, *SPIKINGFORMER_ROWS]
    return sorted(found, key=lambda claim: PUBLICATIONS.index(claim.publication))
