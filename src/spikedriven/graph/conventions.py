"""Energy conventions: the rules by which papers turn firing rates into millijoules, as named
objects.

Each says which layers count, how many multiply-accumulates (MAC) and accumulates (AC) they cost,
which values are moved between memory and arithmetic (where it counts that at all), and where the
rule comes from. All figures are for one image and all time steps.
"""

from spikedriven.errors import InputError
from spikedriven.graph import arithmetic, memory
from spikedriven.graph.memory import Memory
from spikedriven.graph.pricing import TECHNOLOGIES, Convention, Cost, Technology

__all__ = [
    "CONVENTIONS",
    "TECHNOLOGIES",
    "Convention",
    "Cost",
    "Technology",
    "find_convention",
    "find_technology",
]

_PAPER_SPIKINGFORMER = (
    "the counter released with Spikingformer (arXiv 2304.11954), measured behaviour"
)
_LEMAIRE = (
    "event by event: an addition reads its weight, and reads and writes its membrane; a spike is "
    "read and written; "
    "leak, reset, biases and address computation are counted; on-chip memories priced by their size"
)

_ALL = (
    Convention(
        "sdt",
        "E = E_MAC x FL over layers that read real values + E_AC x R x FL over layers that read "
        "spikes, R the rate of "
        "the layer's input, FL its operations over all T steps; mask attention E_AC x (r_k + r_q) "
        "x T N D; BN folded",
        "Spike-driven Transformer, NeurIPS 2023, appendix on theoretical energy",
        arithmetic.sdt,
    ),
    Convention(
        "spikingformer",
        "E = E_MAC x MACs + E_AC x ACs over conv and linear layers, biases included, plus "
        "T h N d^2 (min(r_k, r_v) + r_q) ACs per attention block with the network's own h heads",
        _PAPER_SPIKINGFORMER,
        arithmetic.spikingformer,
    ),
    Convention(
        "spikingformer-log",
        "as spikingformer, with h from the counter's own table, which says 12 for the 768-wide "
        "network of 8 heads: "
        "what the published logs were computed with",
        _PAPER_SPIKINGFORMER,
        arithmetic.spikingformer_log,
    ),
    Convention(
        "sfa",
        "E = E_MAC x FL over layers that read real values + E_AC x T x D x NSFR x FL over all "
        "others; NSFR = mean "
        "integer / D, so an integer n costs n additions; attention products likewise; BN folded",
        "E-SpikeFormer (SDT-V3), TPAMI 2025, normalised spike firing rate",
        arithmetic.sfa,
    ),
    Convention(
        "all-ops",
        "as sdt, and also: biases and residual sums 1 AC per element; BN and constant factors 1 "
        "MAC; neurons 1 MAC + "
        "2 AC per element and step; max pools k^2 - 1 comparisons per output; means and sums 1 AC "
        "per value read; "
        "bilinear interpolation 4 MACs per output",
        "this package: everything that the arithmetic conventions leave out",
        arithmetic.all_ops,
        padding=False,
    ),
    Convention(
        "lemaire",
        f"{_LEMAIRE}; one access per value; int32",
        "Lemaire et al., An Analytical Estimation of Spiking Neural Networks Energy Efficiency, "
        "ICONIP 2022, "
        "arXiv 2210.13107; attention products as linear layers: ours",
        arithmetic.lemaire,
        padding=False,
        technology="int32",
        memory=Memory(packed=False),
        moves=memory.by_event,
        partner_moves=memory.partner_by_operation,
    ),
    Convention(
        "lemaire-packed",
        f"{_LEMAIRE}; as many values per access as fit into 64 bits; int8 with membranes of "
        "16 bits",
        "the successor of lemaire in the authors' tool (qualia-plugin-snn, memory estimation "
        '"new"); bits: ours',
        arithmetic.lemaire,
        padding=False,
        technology="int8",
        memory=Memory(),
        moves=memory.by_event,
        partner_moves=memory.partner_by_operation,
    ),
    Convention(
        "bit-matched",
        "weights from off chip once per image; an addition reads its weight on chip; a membrane is "
        "read and written "
        "once per neuron and step; a spike is one address; partner: an ANN of the same shape with "
        "ceil(log2(T x D + 1)) bits per activation and the same weights",
        "after Yan et al., Reconsidering the Energy Efficiency of Spiking Neural Networks, arXiv "
        "2409.08290 v4: the "
        "partner and the terms are theirs; formulas and prices are ours, since only the abstract "
        "could be read",
        arithmetic.synapses_and_neurons,
        padding=False,
        technology="int8",
        memory=Memory(),
        moves=memory.by_step,
        partner_moves=memory.partner_by_step,
        matched=True,
    ),
    Convention(
        "step",
        "every operation moves its operands: an addition reads its weight, and reads and writes "
        "its partial sum; a "
        "multiply-accumulate of the quantised ANN reads weight and activation; energy in "
        "proportion to bits, at the "
        "price per bit of a memory of 32 KB",
        "after Shen et al., STEP, arXiv 2505.11151: spike sparsity, bit width and memory access "
        "are its terms; "
        "formulas and prices are ours, since only the abstract could be read",
        arithmetic.synapses_and_neurons,
        padding=False,
        technology="int8",
        memory=Memory(on_chip_pj=20 / 64),
        moves=memory.by_event,
        partner_moves=memory.partner_by_operation,
    ),
)
CONVENTIONS: dict[str, Convention] = {convention.name: convention for convention in _ALL}


def find_convention(name: str) -> Convention:
    """The named convention; InputError with the known names otherwise."""
    if name not in CONVENTIONS:
        raise InputError(
            f"energy convention {name!r} is not known; choose one of {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]


def find_technology(name: str) -> Technology:
    """The named technology; InputError with the known names otherwise."""
    if name not in TECHNOLOGIES:
        raise InputError(
            f"technology {name!r} is not known; choose one of {', '.join(TECHNOLOGIES)}"
        )
    return TECHNOLOGIES[name]
