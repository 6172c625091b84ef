"""One published figure, and what became of it here."""

from collections.abc import Callable
from dataclasses import dataclass

REPRODUCED = "reproduced"
SMALL = "reproduced at small scale"
WEIGHTS = "needs the authors' weights"
FAILS = "does not hold"
STATUSES = {
    REPRODUCED: "the command gives the published figure, up to how it was rounded or cut off",
    SMALL: "the same comparison on small networks and data that anyone has, with its own figure",
    WEIGHTS: "the command gives the figure of the file that is handed in; we have no such file",
    FAILS: "the figure is another one, or is about something else than it says",
}

SDT = "Spike-driven Transformer (NeurIPS 2023)"
META = "Meta-SpikeFormer, SDT-V2 (ICLR 2024)"
ESPIKE = "E-SpikeFormer, SDT-V3 (TPAMI 2025)"
SPIKINGFORMER = "Spikingformer (arXiv 2304.11954)"
SPIKFORMER = "Spikformer (ICLR 2023)"
QKFORMER = "QKFormer (NeurIPS 2024)"
PUBLICATIONS = (SDT, META, ESPIKE, SPIKFORMER, SPIKINGFORMER, QKFORMER)


@dataclass(frozen=True)
class Claim:
    """figure: what is claimed, in words. published: the value as it stands there. ours: our value,
    or a function that computes it when the table is made; "": none without the authors' weights.
    status: a key of `STATUSES`. command: what shows it. why: what a reader must know."""

    publication: str
    figure: str
    published: str
    ours: str | Callable[[], str]
    status: str
    command: str
    why: str = ""

    def value(self) -> str:
        """Ours, computed now where it is a function."""
        return self.ours if isinstance(self.ours, str) else self.ours()

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {
            "publication": self.publication,
            "figure": self.figure,
            "published": self.published,
            "ours": self.value(),
            "status": self.status,
            "command": self.command,
            "why": self.why,
        }
