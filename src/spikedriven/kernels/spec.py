"""The constants of a neuron as compiled kernels and program files hold them. No torch here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LIFSpec:
    """Constants of a LIF neuron, see `dynamics`; parametric: ``leak`` multiplies instead of
    dividing.
    """

    leak: float
    threshold: float
    rest: float
    hard_reset: bool
    decay_input: bool
    parametric: bool
    kind: str = "lif"


@dataclass(frozen=True)
class IntegerSpec:
    """Constants of an integer neuron; the map holds counts, undivided: those of ``x /
    threshold``, rounded.
    """

    levels: int
    half_up: bool
    threshold: float = 1.0
    kind: str = "integer"


NeuronSpec = LIFSpec | IntegerSpec
