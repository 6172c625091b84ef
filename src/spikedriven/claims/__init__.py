"""Every figure of the six publications' READMEs and abstracts: published, ours, and how far it
holds."""

from spikedriven.claims.claim import STATUSES, Claim
from spikedriven.claims.page import markdown
from spikedriven.claims.table import all_claims

__all__ = ["STATUSES", "Claim", "all_claims", "markdown"]
